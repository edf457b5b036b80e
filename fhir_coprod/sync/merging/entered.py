"""Finds what people entered in resources that were given up for others, so that those show it, too.

It is worked out from the resource that was given up each time, and never copied: when the two are parted,
each has its own again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, select

from fhir_coprod.store import Version
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import retired
from fhir_coprod.sync.merging import three_way
from fhir_coprod.sync.merging.assign import new_id
from fhir_coprod.sync.merging.merge import Part
from fhir_coprod.sync.merging.sources import Source

# This runs for every few resources, so it is built once.
_GIVEN_UP = select(retired.c.id).where(retired.c.type == bindparam("type"), listed(retired.c.id, "ids"))


def parts(
    connection: Connection,
    newest: Callable[[str, Sequence[str]], dict[str, Version]],
    type: str,
    sources: Mapping[str, Sequence[Source]],
) -> dict[str, list[Part]]:
    """Our id → what was entered in each resource that was given up for this one.

    A resource was given up for the one to which the record belongs now that it was first made from.

    newest:  finds the newest versions of resources of a type
    sources: our id → the records that it is made from
    """
    founded = {new_id(source.record): id for id, own in sources.items() for source in own}
    wanted = [old for old, id in founded.items() if old != id]
    if not wanted:
        return {}
    rows = connection.execute(_GIVEN_UP, {"type": type, "ids": array(wanted)})
    given_up = sorted(row[0] for row in rows)
    bases = three_way.bases(connection, type, given_up)
    found: dict[str, list[Part]] = defaultdict(list)
    for old, version in sorted(newest(type, given_up).items()):
        text, labels = three_way.entered(connection, version, bases.get(old))
        if text:
            part = Part(text, f"{type}/{old}", is_record=False, labels=tuple(labels))
            found[founded[old]].append(part)
    return found

"""Merges an EHR's change into a resource that somebody here changed too, without overwriting their work.

This is a three-way merge of the top-level elements: it compares what the EHR sent last, what we have, and
what the EHR sends now. If one side changed an element, its value wins. If both did, ours stays, the EHR's
value is kept in the merge base, and a Task asks a person to look at it. If the merged resource would not be
valid, all of ours stays, a Task asks a person too, and the merge is tried again at the EHR's next change.

Profiles, security labels and tags are merged one by one: those that somebody here added stay beside those
of the EHR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import Connection, bindparam, select

from fhir_coprod import jsontext
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Transaction, Version, Written, guarded
from fhir_coprod.store.schema.core import version as versions
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import merge_base
from fhir_coprod.store.versions import from_row
from fhir_coprod.sync.merging.elements import grouped
from fhir_coprod.sync.merging.matches import CODES, SOURCE

CONFLICT = "merge-conflict"
_NAMESPACE = UUID("5a0c4b1e-7d7e-5a39-9b7f-2f9f0f3c9c55")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOT_CONTENT = ("id", "meta", "resourceType")
_LISTED = ("profile", "security", "tag")
_GIVEN_UP = ("active", "link")
"""Elements that say of a Patient whether it counts; they mean nothing for the one that took its place."""


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """The merged content, and the elements that both sides changed ("" if the merge was not valid)."""

    document: Document
    meta: Json
    conflicts: tuple[str, ...]
    base: bytes | None
    """The EHR's content to keep as the next merge base; None if it need not be kept."""


RETIRED = "retired:"
"""Beginning of Version.source where the sync gave a resource up, for another one or since its EHR no longer
has it; the source before it follows."""


def retired(source: str) -> str:
    """The source of the version that gives a resource up."""
    return f"{RETIRED}{source.removeprefix(RETIRED)}"


def is_ours(version: Version) -> bool:
    """Whether somebody else than the sync wrote the newest version."""
    return not version.source.removeprefix(RETIRED).startswith("ehr:")


def before_retiring(connection: Connection, version: Version) -> Version:
    """The version itself; or, where it says that the resource was given up, the version before that: it
    has what people entered here, for the day on which the two are parted again or the record returns."""
    if not version.source.startswith(RETIRED):
        return version
    v = versions.c
    earlier = connection.execute(
        select(v.type, v.id, v.version, v.position, v.updated, v.method, v.body, v.hash, v.source)
        .where(v.type == version.type, v.id == version.id, v.version < version.version)
        .where(v.method != "delete", ~v.source.startswith(RETIRED))
        .order_by(v.version.desc())
        .limit(1)
    ).first()
    return from_row((*earlier[:6], bytes(earlier[6]), *earlier[7:])) if earlier is not None else version


def entered(connection: Connection, version: Version, base: bytes | None) -> tuple[bytes, list[Any]]:
    """What somebody here put into a resource that was given up later: what its EHR did not say, as a resource
    (b"" if there is nothing), and the security labels.

    version: its newest version
    base:    as for `three_way`
    """
    ours = before_retiring(connection, version)
    if ours.deleted or (base is None and not is_ours(ours)):
        return b"", []
    type = ours.type
    before = _last_written(connection, ours) if base is None else base
    said = grouped(type, _content(before))
    known = _list(_meta(before).get("security"))
    labels = [label for label in _list(_meta(ours.body).get("security")) if label not in known]
    content: dict[str, bytes] = {}
    for element, members in grouped(type, _content(ours.body)).items():
        if element not in _GIVEN_UP and not _same(said.get(element), members):
            content |= _new_items(said.get(element, {}), members)
    return _document(type, content).raw if content or labels else b"", labels


def _new_items(before: Mapping[str, bytes], members: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The members of an element; of a list only the items that were not in it before."""
    if before.keys() != members.keys() or len(members) > 1:
        return members
    ((name, text),) = members.items()
    was, now = jsontext.decode(before[name]), jsontext.decode(text)
    if not isinstance(was, list) or not isinstance(now, list):
        return members
    new = [item for item in now if item not in was]
    return {name: jsontext.encode(new)} if new else {}


_BASES = select(merge_base.c.id, merge_base.c.body).where(
    merge_base.c.type == bindparam("type"), listed(merge_base.c.id, "ids")
)


def bases(connection: Connection, type: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Id → what the EHR sent last, for resources with changes made here."""
    rows = connection.execute(_BASES, {"type": type, "ids": array(ids)})
    return {id: bytes(body) for id, body in rows}


def three_way(
    connection: Connection,
    ours: Version,
    theirs: Document,
    meta: Json,
    base: bytes | None,
    is_valid: Callable[[Document, Json], bool],
) -> ThreeWay:
    """Merge `theirs` into `ours`. Nothing is written.

    meta:     the meta of `theirs`
    base:     what the EHR sent last, if we kept it; None means what the sync wrote last
    is_valid: decides whether the merged content may be written with the merged meta
    """
    said = theirs.spliced(None, meta)
    type = ours.type
    if base is None:
        base = _last_written(connection, ours)
    now, mine = grouped(type, _content(said)), grouped(type, _content(ours.body))
    before = grouped(type, _content(base))
    both = _merged_meta(_meta(base), _meta(ours.body), meta)
    result: dict[str, bytes] = {}
    conflicts: list[str] = []
    for element in [*mine, *(key for key in now if key not in mine)]:
        was, here, there = before.get(element), mine.get(element), now.get(element)
        if _same(was, here):
            value = there
        else:
            value = here
            if not (_same(was, there) or _same(here, there)):
                conflicts.append(element)
        result |= value or {}
    merged = _document(type, result)
    if not is_valid(merged, both):
        # Keep the old base, so that the EHR's changes are not lost when a later merge succeeds.
        return ThreeWay(_document(type, _content(ours.body)), both, ("",), base)
    is_all_theirs = grouped(type, result) == now and both == meta
    # If no version by the sync has the EHR's content, only the merge base can remember it.
    makes_version = not _all_same(mine, now) or both != _meta(ours.body)
    return ThreeWay(merged, both, tuple(conflicts), None if is_all_theirs and makes_version else said)


def _document(type: str, content: Mapping[str, bytes]) -> Document:
    members = {"resourceType": jsontext.encode(type), **content}
    raw = b"{" + b",".join(jsontext.encode(k) + b":" + v for k, v in members.items()) + b"}"
    return Document(raw, jsontext.decode(raw))


def _meta(body: bytes) -> Json:
    """The meta, without the stamps that the store sets on each version."""
    meta = jsontext.decode(body).get("meta") if body else None
    if not isinstance(meta, dict):
        return {}
    return {key: value for key, value in meta.items() if key not in ("versionId", "lastUpdated")}


def _merged_meta(before: Json, mine: Json, said: Json) -> Json:
    """The EHR's meta now, plus the profiles, labels and tags that were added here since `before`."""
    merged = {**mine, **said}
    for name in _LISTED:
        theirs, was, ours = _list(said.get(name)), _list(before.get(name)), _list(mine.get(name))
        merged[name] = theirs + [i for i in ours if i not in was and i not in theirs]
    return {key: value for key, value in merged.items() if value}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _content(body: bytes) -> dict[str, bytes]:
    members = _members(body) if body else {}
    return {key: bytes(value) for key, value in members.items() if key not in _NOT_CONTENT}


def _same(a: Mapping[str, bytes] | None, b: Mapping[str, bytes] | None) -> bool:
    """Whether the values are equal, however they are written in JSON."""
    if a is None or b is None or a == b:
        return a == b
    return a.keys() == b.keys() and all(jsontext.decode(a[k]) == jsontext.decode(b[k]) for k in a)


def _all_same(a: Mapping[str, Mapping[str, bytes]], b: Mapping[str, Mapping[str, bytes]]) -> bool:
    return a.keys() == b.keys() and all(_same(a[element], b[element]) for element in a)


def _last_written(connection: Connection, ours: Version) -> bytes:
    """What the sync last wrote for this resource before `ours`; b"" if it never did."""
    v = versions.c
    row = connection.execute(
        select(v.body)
        .where(v.type == ours.type, v.id == ours.id, v.version < ours.version, v.method != "delete")
        .where(v.source.startswith("ehr:") | v.source.startswith(RETIRED))
        .order_by(v.version.desc())
        .limit(1)
    ).first()
    return bytes(row[0]) if row is not None else b""


def forget(connection: Connection, type: str, id: str) -> None:
    """Delete the merge base of a resource in which nothing entered here is left."""
    guarded.take_all(connection, merge_base, type, id)


def remember(connection: Connection, type: str, id: str, said: bytes | None) -> None:
    """Keep what the EHR sends now as the merge base, or delete it if None."""
    if said is None:
        forget(connection, type, id)
    else:
        guarded.put(connection, merge_base, [(type, id, said)])


def ask(transaction: Transaction, reference: str, elements: Sequence[str]) -> tuple[Written, ...]:
    """Ask a person in a Task, one for each resource, which is opened again if it happens again.

    elements: those that both sides changed; none means that the sides together break FHIR's rules
    """
    id = str(uuid5(_NAMESPACE, reference))
    if elements:
        text = "The EHR and somebody here changed the same thing"
        description = (
            f"Both changed: {', '.join(elements)}. What was entered here is kept; compare it with the EHR."
        )
    else:
        text = "What is known from several places does not fit together"
        description = (
            "Together they break FHIR's rules, so only one side is kept here; compare it with the others."
        )
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "code": {"coding": [{"system": CODES, "code": CONFLICT}], "text": text},
        "description": description,
        "focus": {"reference": reference},
        "authoredOn": instant(transaction.now),
    }
    written = transaction.put(jsontext.from_data(task), id, source=SOURCE)
    return () if written.change == "unchanged" else (written,)

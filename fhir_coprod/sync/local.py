"""What somebody here changed in an EHR's resource is not overwritten when the EHR changes it too.

Three ways, element by element at the top level of the resource: what the EHR last said, what we hold, what it
says now. An element that one side changed takes that side's value. One that both changed keeps ours; what the
EHR says stays in the merge base, and one Task asks a person to look at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import Connection, delete, insert, select

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Transaction, Version, Written
from fhir_coprod.store.schema import merge_base
from fhir_coprod.store.schema import version as versions
from fhir_coprod.sync.matches import CODES, SOURCE

CONFLICT = "merge-conflict"
_NAMESPACE = UUID("5a0c4b1e-7d7e-5a39-9b7f-2f9f0f3c9c55")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NOT_CONTENT = ("id", "meta", "resourceType")


@dataclass(frozen=True, slots=True)
class ThreeWay:
    """The merged content, and the elements that both sides changed."""

    document: Document
    conflicts: tuple[str, ...]
    asked: tuple[Written, ...]
    """The Task about them, where it is new."""


def is_ours(version: Version) -> bool:
    """Whether somebody else than the sync wrote the newest version."""
    return not version.deleted and not version.source.startswith("ehr:")


def bases(connection: Connection, type: str, ids: Sequence[str]) -> dict[str, bytes]:
    """Id → what the EHR last said, of resources that hold changes made here."""
    b = merge_base.c
    rows = connection.execute(select(b.id, b.body).where(b.type == type, b.id.in_(ids)))
    return {id: bytes(body) for id, body in rows}


def three_way(
    transaction: Transaction,
    ours: Version,
    theirs: Document,
    rewrites: Mapping[str, str],
    base: bytes | None,
) -> ThreeWay:
    """`theirs` (with references yet to be rewritten) merged into `ours`; remembered as the next merge's base.

    base: what the EHR last said, where it is kept; else what the sync last wrote.
    """
    said = theirs.spliced(None, None, rewrites)
    now, mine = _content(said), _content(ours.body)
    before = _content(base if base is not None else _last_written(transaction, ours))
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
        if value is not None:
            result[element] = value
    _remember(transaction.connection, ours, said if result.keys() != now.keys() or result != now else None)
    asked = _ask(transaction, ours, conflicts) if conflicts else ()
    head = {"resourceType": jsontext.encode(theirs.type)}
    raw = b"{" + b",".join(jsontext.encode(k) + b":" + v for k, v in {**head, **result}.items()) + b"}"
    return ThreeWay(Document(raw, jsontext.decode(raw)), tuple(conflicts), asked)


def kept_meta(version: Version) -> Json:
    """Profiles, labels and tags that our version has."""
    meta = version.data.get("meta") or {}
    return {key: value for key, value in meta.items() if key not in ("versionId", "lastUpdated")}


def _content(body: bytes) -> dict[str, bytes]:
    members = _members(body) if body else {}
    return {key: bytes(value) for key, value in members.items() if key not in _NOT_CONTENT}


def _same(a: bytes | None, b: bytes | None) -> bool:
    """Equal as values; spelling does not count."""
    if a is None or b is None or a == b:
        return a == b
    return bool(jsontext.decode(a) == jsontext.decode(b))


def _last_written(transaction: Transaction, ours: Version) -> bytes:
    """What the sync last wrote of this resource; b"" when it never did."""
    v = versions.c
    row = transaction.connection.execute(
        select(v.body)
        .where(v.type == ours.type, v.id == ours.id, v.source.startswith("ehr:"), v.method != "delete")
        .order_by(v.version.desc())
        .limit(1)
    ).first()
    return bytes(row[0]) if row is not None else b""


def forget(connection: Connection, type: str, id: str) -> None:
    """Drops the merge base of a resource that holds nothing entered here any more."""
    b = merge_base.c
    connection.execute(delete(merge_base).where(b.type == type, b.id == id))


def _remember(connection: Connection, ours: Version, said: bytes | None) -> None:
    """Keeps what the EHR says now, or forgets it when nothing of ours is left."""
    forget(connection, ours.type, ours.id)
    if said is not None:
        connection.execute(insert(merge_base).values(type=ours.type, id=ours.id, body=said))


def _ask(transaction: Transaction, ours: Version, elements: Sequence[str]) -> tuple[Written, ...]:
    """One Task per resource: which elements both sides changed. Opened again when it happens again."""
    id = str(uuid5(_NAMESPACE, ours.reference))
    task = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "code": {
            "coding": [{"system": CODES, "code": CONFLICT}],
            "text": "The EHR and somebody here changed the same thing",
        },
        "description": "Both changed: "
        + ", ".join(elements)
        + ". What was entered here is kept; compare it with the EHR.",
        "focus": {"reference": ours.reference},
        "authoredOn": transaction.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    written = transaction.put(jsontext.from_data(task), id, source=SOURCE)
    return () if written.change == "unchanged" else (written,)

"""Looks at the log: every version and the bytes it was received as, against their seals and each other.

Positions are handed out under a lock, one after the other, and what is rolled back gives its positions back.
So a log has no gaps, on either database, but for what was erased (table `erased_range`).
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.instants import from_milliseconds, last_updated, to_milliseconds
from fhir_coprod.jsontext import Document
from fhir_coprod.store import seals
from fhir_coprod.store.database import Session
from fhir_coprod.store.prepared import is_name, kept_meta
from fhir_coprod.store.soundness.faults import Fault, Mend, Portion, cut
from fhir_coprod.store.transaction import Transaction

PORTION = 500
MOST_BYTES = 20_000_000

_SIZES = (
    "SELECT v.position, length(v.body) + coalesce(length(x.body), 0) FROM version v"
    " LEFT JOIN received x ON x.position = v.position WHERE v.position > ? ORDER BY v.position LIMIT ?"
)
_ROWS = (
    "SELECT v.position, v.type, v.id, v.version, v.updated, v.method, v.hash, v.source, v.body, v.seal,"
    " x.position, x.body, x.seal, w.position, w.updated, r.key"
    " FROM version v LEFT JOIN received x ON x.position = v.position"
    " LEFT JOIN version w ON w.type = v.type AND w.id = v.id AND w.version = v.version - 1"
    " LEFT JOIN resource r ON r.type = v.type AND r.id = v.id"
    " WHERE v.position > ? AND v.position <= ? ORDER BY v.position"
)
_ORPHANS = (
    "SELECT x.position FROM received x LEFT JOIN version v ON v.position = x.position"
    " WHERE x.position > ? AND x.position <= ? AND v.position IS NULL ORDER BY x.position"
)


class Row(NamedTuple):
    """A row of table version, without its seal."""

    position: int
    type: str
    id: str
    version: int
    updated: int
    method: str
    hash: str
    source: str
    body: bytes

    @property
    def at(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"


_TYPES = (int, str, str, int, int, str, str, str, bytes)


class Log:
    """The part of the check about the tables version and received."""

    name = "log"

    def __init__(self, head: int) -> None:
        self._head = head

    def portion(self, session: Session, after: int) -> Portion:
        after = max(after, 0)
        sizes = [(place, size or 0) for place, size in session.rows(_SIZES, (after, PORTION))]
        places = [place for place in cut(sizes, MOST_BYTES) if place <= self._head]
        # What comes after the head was written since the check began.
        last = places[-1] if places else self._head
        faults: list[Fault] = []
        mends: list[Mend] = []
        expected = after + 1
        for found in session.rows(_ROWS, (after, last)):
            if found[0] > expected:
                faults += _gaps(session, expected, found[0] - 1)
            expected = found[0] + 1
            self._look(found, faults, mends)
        if not places and expected <= self._head:
            faults += _gaps(session, expected, self._head)
        end = last if places else 2**62
        for (position,) in session.rows(_ORPHANS, (after if after else -(2**62), end)):
            if position <= self._head or not places:
                faults.append(Fault("received-orphan", f"position {position}"))
        return Portion(faults, mends, last if places else None, last / max(self._head, 1))

    def _look(self, found: tuple[Any, ...], faults: list[Fault], mends: list[Mend]) -> None:
        row, seal = Row(*found[:9]), found[9]
        at_received, received, received_seal, before, before_updated, key = found[10:]
        sound = True
        why = what_is_wrong(row, seal)
        if why:
            sound = False
            better = rebuilt(row, seal, received if at_received is not None else None)
            faults.append(Fault("rebuildable" if better else "version", row.at, why))
            if better:
                mends.append(_replace(row, better))
        if row.method == "delete":
            if at_received is not None and not why:
                sound = False
                faults.append(Fault("received", row.at, "a deletion has none"))
        elif at_received is None:
            sound = False
            faults.append(Fault("received", row.at, "missing"))
        elif wrong := _wrong_received(row, received, received_seal):
            sound = False
            faults.append(Fault("received", row.at, wrong))
        if row.version > 1 and not why:
            if before is None:
                faults.append(Fault("version-missing", f"{row.type}/{row.id}/_history/{row.version - 1}"))
            elif before >= row.position or before_updated >= row.updated:
                faults.append(Fault("order", row.at))
        if key is None and not why:
            faults.append(Fault("resource", f"{row.type}/{row.id}", "missing"))
            mends.append(restored(row.type, row.id))
        if sound and (seal is None or (at_received is not None and received_seal is None)):
            mends.append(_seal(row, received))


def _gaps(session: Session, first: int, last: int) -> Iterator[Fault]:
    """What is missing between two positions, without what was erased."""
    for begin, end in session.rows(
        "SELECT first, last FROM erased_range WHERE last >= ? AND first <= ? ORDER BY first", (first, last)
    ):
        if begin > first:
            yield _gap(first, begin - 1)
        first = max(first, end + 1)
    if first <= last:
        yield _gap(first, last)


def _gap(first: int, last: int) -> Fault:
    return Fault("gap", f"position {first}" if first == last else f"positions {first} to {last}")


def what_is_wrong(row: Row, seal: int | None) -> str:
    """In what a version differs from what was stored, in a few words; "" if in nothing."""
    if any(not isinstance(value, kind) for value, kind in zip(row, _TYPES, strict=True)):
        return "a column holds what it cannot"
    if seal is not None and _seal_of(row) == seal:
        return ""
    if row.method == "delete":
        return "" if seal is None and not row.body and not row.hash else "the row of the deletion is altered"
    try:
        data = jsontext.decode(row.body)
        if not isinstance(data, dict):
            return "the body is no JSON object"
    except (CoprodError, TypeError, UnicodeDecodeError):
        return "the body is missing" if not row.body else "the body is no JSON"
    if (data.get("resourceType"), data.get("id")) != (row.type, row.id):
        return "the body is that of another resource"
    meta = data.get("meta")
    if not isinstance(meta, dict) or meta.get("versionId") != str(row.version):
        return "the body is that of another version"
    if meta.get("lastUpdated") != _stamp(row.updated):
        return "its time is not the one in its body"
    if not is_name(row.hash) and _hash(row.body) != row.hash:
        return "the body does not fit its hash"
    return "" if seal is None else "the body or its row is altered"


def _wrong_received(row: Row, body: bytes, seal: int | None) -> str:
    if seal is not None:
        try:
            return "" if seals.seal((row.position, body)) == seal else "altered"
        except TypeError:
            return "altered"
    try:
        jsontext.decode(body)
    except (CoprodError, TypeError, UnicodeDecodeError):
        return "no JSON"
    return ""


def _seal_of(row: Row) -> int | None:
    """None for what cannot even be encoded: SQLite may hand out any type for a damaged column."""
    try:
        return seals.seal(row)
    except (TypeError, OverflowError, ValueError):
        return None


def _stamp(milliseconds: Any) -> str | None:
    try:
        return last_updated(from_milliseconds(milliseconds))
    except (TypeError, ValueError, OverflowError):
        return None


def _hash(body: bytes) -> str:
    return jsontext.content_hash(Document(body, {}))


# ------------------------------------------------------------------------------- what can be made anew


def rebuilt(row: Row, seal: int | None, received: bytes | None) -> Row | None:
    """The row as it was, made from what is left of it: the seal proves that it is right."""
    if seal is None:
        return None
    return next((one for one in _guesses(row, received) if _seal_of(one) == seal), None)


def _guesses(row: Row, received: bytes | None) -> Iterator[Row]:
    """What the row may have been if one of its columns is wrong."""
    body = _body_from(row, received)
    if body is not None:
        yield row._replace(body=body)
        try:
            yield row._replace(body=body, hash=_hash(body))
        except (CoprodError, ValueError):
            pass
    for method in ("create", "update"):
        yield row._replace(method=method)
    yield row._replace(method="delete", body=b"", hash="")
    try:
        data = jsontext.decode(row.body)
        meta = data["meta"]
        yield row._replace(hash=_hash(row.body))
        yield row._replace(version=int(meta["versionId"]))
        yield row._replace(updated=to_milliseconds(datetime.fromisoformat(meta["lastUpdated"])))
        yield row._replace(type=str(data["resourceType"]))
        yield row._replace(id=str(data["id"]))
    except (CoprodError, TypeError, ValueError, KeyError, UnicodeDecodeError):
        return


def _body_from(row: Row, received: bytes | None) -> bytes | None:
    """The body as it is made of the received bytes, if nothing was changed in them but id and meta."""
    stamp = _stamp(row.updated)
    if received is None or stamp is None:
        return None
    try:
        document = jsontext.parse(received)
        meta = {"versionId": str(row.version), "lastUpdated": stamp, **kept_meta(document.data)}
        return document.spliced(row.id, meta)
    except (CoprodError, TypeError, ValueError):
        return None


def _replace(row: Row, better: Row) -> Mend:
    def mend(transaction: Transaction) -> None:
        columns = ", ".join(f"{name} = ?" for name in Row._fields[1:])
        transaction.session.run(
            f"UPDATE version SET {columns} WHERE position = ?", (*better[1:], row.position)
        )

    return mend


def _seal(row: Row, received: bytes | None) -> Mend:
    """Add the seals that rows of an older version of the program lack."""

    def mend(transaction: Transaction) -> None:
        session = transaction.session
        session.run(
            "UPDATE version SET seal = ? WHERE position = ? AND seal IS NULL",
            (seals.seal(row), row.position),
        )
        if received is not None:
            session.run(
                "UPDATE received SET seal = ? WHERE position = ? AND seal IS NULL",
                (seals.seal((row.position, received)), row.position),
            )

    return mend


_ENDS = (
    "SELECT f.position, n.version, n.position, n.updated, n.method FROM version f JOIN version n"
    " ON n.type = f.type AND n.id = f.id WHERE f.type = ? AND f.id = ? AND f.version = 1"
    " ORDER BY n.version DESC LIMIT 1"
)


def restored(type: str, id: str) -> Mend:
    """Makes the row of a resource anew from its versions, if the log has the first and the newest of them."""

    def mend(transaction: Transaction) -> None:
        session = transaction.session
        ends = session.rows(_ENDS, (type, id))
        if not ends:
            return
        key, version, position, updated, method = ends[0]
        marks = session.rows("SELECT * FROM quality WHERE key = ?", (key,))
        state = (type, id, version, position, updated, method == "delete")
        session.run("DELETE FROM resource WHERE type = ? AND id = ? AND key <> ?", (type, id, key))
        columns = ("type", "id", "version", "position", "updated", "deleted")
        session.run(
            f"INSERT INTO resource (key, {', '.join(columns)}, marks) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            f" ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in columns)}",
            (key, *state, seals.of_marks(marks)),
        )

    return mend

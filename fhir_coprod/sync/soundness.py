"""Looks at the tables of the sync, for `db check`: what was taken from each EHR, and what is made of it."""
# ruff: noqa: S608 - only our own names are put into SQL; every value is bound

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, get_args

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.readable import readable
from fhir_coprod.settings import Settings
from fhir_coprod.store import guarded
from fhir_coprod.store.database import Session
from fhir_coprod.store.schema.sync import letter_patient, sync_key, sync_reference
from fhir_coprod.store.soundness.faults import FIRST, Fault, Mend, Part, Portion
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.sync.engine import context_of
from fhir_coprod.sync.staging import identity, references, sealed
from fhir_coprod.sync.staging.feed import State
from fhir_coprod.sync.staging.order import stamps
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.stage import content_hash

PORTION = 300
Row = tuple[Any, ...]
Key = tuple[str, str, str]

_BEGIN: Key = ("", "", "")
_END: Key = ("\U0010ffff", "", "")
_KEYS = (
    "SELECT ehr, type, foreign_id FROM crosswalk WHERE (ehr, type, foreign_id) > (?, ?, ?)"
    " ORDER BY ehr, type, foreign_id LIMIT ?"
)
_WITHIN = "(x.ehr, x.type, x.foreign_id) > (?, ?, ?) AND (x.ehr, x.type, x.foreign_id) <= (?, ?, ?)"
_RECORDS = (
    "SELECT x.ehr, x.type, x.foreign_id, x.id, x.version, x.updated, x.hash, x.deleted, x.state, x.seal,"
    " x.linked, r.key FROM crosswalk x"
    f" LEFT JOIN resource r ON r.type = x.type AND r.id = x.id WHERE {_WITHIN}"
)


def parts(settings: Settings) -> tuple[Part, ...]:
    """The parts of the check that the sync knows."""
    bases = context_of(settings).bases
    return (_Taken(bases), _Letters(bases), _Feeds(), _Beside())


class _Record(NamedTuple):
    ehr: str
    type: str
    foreign_id: str
    id: str
    version: str
    updated: str
    hash: str
    deleted: bool
    state: int
    seal: int | None
    linked: int | None
    known: int | None

    @property
    def key(self) -> Key:
        return (self.ehr, self.type, self.foreign_id)

    @property
    def at(self) -> str:
        return f"{self.ehr}: {self.type}/{self.foreign_id}"

    @property
    def own_seal(self) -> int:
        record = Record(*self.key)
        return sealed.taken(record, self.version, self.updated, self.hash, deleted=bool(self.deleted))

    @property
    def is_as_written(self) -> bool:
        """Whether it fits its checksum; rows of older versions of the program have none."""
        return self.seal in (None, self.own_seal)


class _Taken:
    """Each record taken from an EHR against its bytes, and these against the keys and references of it."""

    name = "records of the EHRs"

    def __init__(self, bases: Bases) -> None:
        self._bases = bases

    def portion(self, session: Session, after: Any) -> Portion:
        begin: Key = _BEGIN if after == FIRST else after
        keys = [tuple(row) for row in session.rows(_KEYS, (*begin, PORTION))]
        end = keys[-1] if keys else _END
        span = (*begin, *end)
        bases = _knowing(self._bases, session)
        portion = Portion([], [], keys[-1] if keys else None, 0.5 if keys else 1.0)
        bodies = {
            tuple(row[:3]): row[3:]
            for row in session.rows(
                "SELECT x.ehr, x.type, x.foreign_id, x.body, x.marks, x.seal FROM received_base x"
                f" WHERE {_WITHIN}",
                span,
            )
        }
        names = _grouped(
            session.rows(
                f"SELECT x.ehr, x.type, x.foreign_id, x.kind, x.key FROM sync_key x WHERE {_WITHIN}", span
            )
        )
        targets = _grouped(
            session.rows(
                "SELECT x.ehr, x.type, x.foreign_id, x.target_ehr, x.target_type, x.target"
                f" FROM sync_reference x WHERE {_WITHIN}",
                span,
            )
        )
        for row in session.rows(_RECORDS, span):
            one = _Record(*row)
            body = bodies.pop(one.key, None)
            self._look(one, body, names.pop(one.key, set()), targets.pop(one.key, set()), bases, portion)
        for key in sorted({*bodies, *names, *targets}):
            portion.faults.append(Fault("record-orphan", f"{key[0]}: {key[1]}/{key[2]}"))
        return portion

    def _look(
        self,
        one: _Record,
        body: Row | None,
        names: set[Row],
        targets: set[Row],
        bases: Bases,
        portion: Portion,
    ) -> None:
        if one.id and one.known is None:
            portion.faults.append(Fault("record", one.at, f"{one.type}/{one.id}, which it is in, is missing"))
        if one.linked not in (None, sealed.linked(Record(*one.key), one.id)):
            portion.faults.append(Fault("record", one.at, "the resource that it is in is another"))
        if not one.is_as_written:
            better = _better(one, body)
            portion.faults.append(Fault("record", one.at, "its row is altered"))
            if better is not None:
                portion.mends.append(_rewritten(better))
            return
        if one.state not in (0, 1, 2):
            portion.faults.append(Fault("record", one.at, "its state is none that there is"))
            portion.mends.append(_again(one))
        if one.deleted and (body or names or targets):
            # A record that is gone loses its hash together with its bytes.
            portion.faults.append(Fault("record", one.at, "is gone, and still has bytes, keys or references"))
            if one.hash and body and one.seal is None:
                portion.mends.append(_alive(one, deleted=False))
            return
        if one.deleted:
            return
        if not body and not one.hash and not names and not targets:
            portion.faults.append(Fault("record", one.at, "has nothing, and is not gone"))
            if one.seal is None:
                portion.mends.append(_alive(one, deleted=True))
            return
        data = _data(body[0]) if body else None
        if body is None or data is None:
            portion.faults.append(Fault("record", one.at, "its bytes are missing or no JSON"))
            return
        document = jsontext.parse(bytes(body[0]))
        if one.hash and content_hash(document) != one.hash:
            portion.faults.append(Fault("record", one.at, "its bytes do not fit their hash"))
            return
        received = sealed.received(Record(*one.key), bytes(body[0]), body[1])
        if body[2] not in (None, received):
            portion.faults.append(Fault("record", one.at, "its bytes, or what is wrong in them, are altered"))
            return
        if None in (one.seal, one.linked, body[2]):
            portion.mends.append(_sealed(one, received))
        data = document.data if body[1] is None else readable(document.data).data
        wanted = {
            (kind, key) for kind, values in identity.keys(data, one.ehr, bases).items() for key in values
        }
        rules = {key for kind, key in wanted if kind == identity.RULES}
        held_rules = {key for kind, key in names if kind == identity.RULES}
        led = references.targets(document.raw, data, one.ehr, bases)
        # Under other rules the next sync makes the keys anew.
        stale = bool(held_rules) and rules != held_rules
        if (wanted != names and not stale) or led != targets:
            portion.faults.append(Fault("record-key", one.at))
            portion.mends.append(_rekeyed(one, names if stale else wanted, led))


def _knowing(bases: Bases, session: Session) -> Bases:
    """With the other addresses that EHRs were found to have."""
    return bases.knowing(
        (ehr, base) for ehr, base in session.rows("SELECT ehr, base FROM ehr_base ORDER BY ehr, base")
    )


def _grouped(rows: list[Row]) -> dict[Key, set[Row]]:
    found: dict[Key, set[Row]] = {}
    for row in rows:
        found.setdefault((row[0], row[1], row[2]), set()).add(tuple(row[3:]))
    return found


def _data(raw: Any) -> jsontext.Json | None:
    try:
        return jsontext.parse(bytes(raw)).data
    except (CoprodError, TypeError):
        return None


_OWN = "ehr = ? AND type = ? AND foreign_id = ?"


def _better(one: _Record, body: Row | None) -> _Record | None:
    """The row as it was written, if one value of it is altered that follows from the bytes."""
    candidates = [one._replace(deleted=not one.deleted)]
    data = _data(body[0]) if body else None
    if body is not None and data is not None:
        version, updated = stamps(data)
        hash = content_hash(jsontext.parse(bytes(body[0])))
        candidates += [one._replace(version=version), one._replace(updated=updated), one._replace(hash=hash)]
    return next((each for each in candidates if each.is_as_written), None)


def _rewritten(one: _Record) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run(
            f"UPDATE crosswalk SET version = ?, updated = ?, hash = ?, deleted = ? WHERE {_OWN} AND seal = ?",
            (one.version, one.updated, one.hash, bool(one.deleted), *one.key, one.seal),
        )

    return mend


def _sealed(one: _Record, received: int) -> Mend:
    """Add the checksums that rows of an older version of the program lack."""
    linked = sealed.linked(Record(*one.key), one.id)

    def mend(transaction: Transaction) -> None:
        session = transaction.session
        same = f"{_OWN} AND hash = ? AND id = ? AND deleted = false"
        known = (*one.key, one.hash, one.id)
        for column, value in (("seal", one.own_seal), ("linked", linked)):
            session.run(
                f"UPDATE crosswalk SET {column} = ? WHERE {same} AND {column} IS NULL", (value, *known)
            )
        session.run(
            f"UPDATE received_base SET seal = ? WHERE {_OWN} AND seal IS NULL AND EXISTS"
            f" (SELECT 1 FROM crosswalk WHERE {same})",
            (received, *one.key, *known),
        )

    return mend


def _alive(one: _Record, *, deleted: bool) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run(f"UPDATE crosswalk SET deleted = ? WHERE {_OWN}", (deleted, *one.key))

    return mend


def _again(one: _Record) -> Mend:
    """Link and write it once more: with the same content that changes nothing."""

    def mend(transaction: Transaction) -> None:
        transaction.session.run(f"UPDATE crosswalk SET state = 2 WHERE {_OWN}", one.key)

    return mend


def _rekeyed(one: _Record, names: set[Row], targets: frozenset[tuple[str, str, str]]) -> Mend:
    def mend(transaction: Transaction) -> None:
        session = transaction.session
        session.run(f"DELETE FROM sync_key WHERE {_OWN}", one.key)
        session.run(f"DELETE FROM sync_reference WHERE {_OWN}", one.key)
        if names:
            session.insert(
                sync_key, [(one.type, kind, key, one.ehr, one.foreign_id) for kind, key in sorted(names)]
            )
        if targets:
            session.insert(sync_reference, [(*one.key, *target) for target in sorted(targets)])

    return mend


class _Letters:
    """The dead letters: their bytes against their hash, and whom they concern."""

    name = "dead letters"

    def __init__(self, bases: Bases) -> None:
        self._bases = bases

    def portion(self, session: Session, after: int) -> Portion:
        portion = Portion([], [], None, 1.0)
        rows = session.rows(
            "SELECT id, ehr, hash, position, body, outcome, state FROM dead_letter"
            " WHERE id > ? ORDER BY id LIMIT ?",
            (after, PORTION),
        )
        if not rows:
            return portion
        last = rows[-1][0]
        named: dict[int, set[Row]] = {}
        for id, *patient in session.rows(
            "SELECT letter, ehr, foreign_id FROM letter_patient WHERE letter > ? AND letter <= ?",
            (after, last),
        ):
            named.setdefault(id, set()).add(tuple(patient))
        bases = _knowing(self._bases, session)
        for id, ehr, hash, position, body, outcome, state in rows:
            # A record that nobody could read has no bytes, but a place.
            if hashlib.sha256(body or position.encode()).hexdigest() != hash:
                portion.faults.append(Fault("letter", str(id), "its bytes do not fit their hash"))
                continue
            if _data(str(outcome).encode()) is None:
                portion.faults.append(Fault("letter", str(id), "the reason cannot be read"))
            if state not in _STATES:
                portion.faults.append(Fault("letter", str(id), "its state is none that there is"))
            own = bases if ehr else Bases({})
            wanted = {(patient.ehr, patient.id) for patient in references.patients(body, ehr, own)}
            if wanted != named.get(id, set()):
                portion.faults.append(Fault("letter", str(id), "not the patients that it concerns"))
        return Portion(portion.faults, [], last, 0.5)


class _Feeds:
    """What can be seen of each type of each EHR: every type of which records were taken has a row."""

    name = "feeds"

    def portion(self, session: Session, after: int) -> Portion:
        latest = to_milliseconds(datetime.now(UTC) + timedelta(days=1))
        faults = []
        rows = session.rows(
            "SELECT ehr, type, state, since, first_success, last_success, last_full, short_looks FROM feed"
        )
        for ehr, type, state, *times, looks in rows:
            numbers = all(isinstance(time, int) and 0 <= time <= latest for time in times)
            if state not in get_args(State) or not numbers:
                faults.append(Fault("feed", f"{ehr}: {type}", "says what cannot be"))
            elif not isinstance(looks, int) or not 0 <= looks < _MOST_LOOKS:
                faults.append(Fault("feed", f"{ehr}: {type}", "counts what cannot be"))
        known = {(ehr, type) for ehr, type, *_ in rows}
        taken = {(ehr, type) for ehr, type in session.rows(_TYPES)}
        faults += [Fault("feed", f"{ehr}: {type}", "missing") for ehr, type in sorted(taken - known)]
        return Portion(faults, [], None, 1.0)


_MOST_LOOKS = 1_000_000
_TYPES = "SELECT DISTINCT ehr, type FROM crosswalk"

_STATES = ("open", "dismissed", "resolved", "superseded")


class _Beside:
    """Rows that refer to what is not there."""

    name = "what belongs to records"

    def portion(self, session: Session, after: int) -> Portion:
        faults = []
        for what, query in _ORPHANS.items():
            faults += [Fault("orphan", str(row[0]), what) for row in session.rows(query)]
        letters = [row[0] for row in session.rows(_WITHOUT_LETTER)]
        faults += [Fault("letter-orphan", str(letter)) for letter in letters]
        return Portion(faults, [_without_patients(letter) for letter in letters], None, 1.0)


def _without_patients(letter: int) -> Mend:
    def mend(transaction: Transaction) -> None:
        guarded.take_all(transaction.connection, letter_patient, letter)

    return mend


_WITHOUT_LETTER = (
    "SELECT DISTINCT x.letter FROM letter_patient x LEFT JOIN dead_letter d ON d.id = x.letter"
    " WHERE d.id IS NULL ORDER BY x.letter"
)
_ORPHANS = {
    "base of a merge": (
        "SELECT x.type || '/' || x.id FROM merge_base x LEFT JOIN resource r"
        " ON r.type = x.type AND r.id = x.id WHERE r.key IS NULL"
    ),
    **{
        f"{table} about people ({side})": (
            f"SELECT x.ehr_{side} || ': ' || x.id_{side} FROM {table} x LEFT JOIN crosswalk c"
            f" ON c.ehr = x.ehr_{side} AND c.type = 'Patient' AND c.foreign_id = x.id_{side}"
            " WHERE c.ehr IS NULL"
        )
        for table in ("doubt", "person_word")
        for side in "ab"
    },
    "resource that was given up": (
        "SELECT x.type || '/' || x.id FROM retired x LEFT JOIN resource r"
        " ON r.type = x.type AND r.id = x.id WHERE r.key IS NULL"
    ),
}

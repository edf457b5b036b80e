"""Shows which patients may be the same person, both records side by side, and takes a person's word on it.

Only a person joins or parts two patients, by name. The word is about records of EHRs, so it outlives every
change of those records; the last word on a pair counts. It is carried out at once if the settings name the
EHRs and no sync is running, otherwise by the next sync.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, Conflict, NotFound
from fhir_coprod.instants import from_milliseconds, instant
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema.many import among
from fhir_coprod.store.schema.sync import person_word, received_base
from fhir_coprod.sync import alone, engine
from fhir_coprod.sync.merging import doubts, matches
from fhir_coprod.sync.merging.doubts import Doubt
from fhir_coprod.sync.merging.lookup import by_ehr, load_rows, same_resource
from fhir_coprod.sync.staging import stage
from fhir_coprod.sync.staging.identity import Pair, pair_of
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks

Word = Literal["same", "different"]

_ENOUGH = 4
"""How many characters of a pair's name are enough."""
_LONGEST = 100
"""Characters of a person's name."""
_SHOWN = (
    "name",
    "birthDate",
    "gender",
    "identifier",
    "address",
    "telecom",
    "deceased",
    "multiple birth",
    "link",
)


class NoSuchPair(NotFound):
    """No pair and no patient has that name; the command was used wrongly."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Side:
    """One of two records: whose it is here ("" if it is not written yet), and what it says, line by line."""

    record: Record
    patient: str
    lines: dict[str, list[str]]

    def to_json(self) -> Json:
        return {
            "ehr": self.record.ehr,
            "record": self.record.reference,
            "patient": f"Patient/{self.patient}" if self.patient else None,
            **{what.replace(" ", "_"): said for what, said in self.lines.items()},
        }


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A pair of records that may be the same person."""

    id: str
    sides: tuple[Side, Side]
    why: str
    since: datetime
    asked: bool
    """Whether a referral or a plan depends on it, so that a Task asks a person."""

    def to_json(self) -> Json:
        """As `people list --json` prints it."""
        return {
            "id": self.id,
            "why": self.why,
            "since": instant(self.since),
            "asked": self.asked,
            "records": [side.to_json() for side in self.sides],
        }

    def rows(self) -> list[tuple[str, str, str, bool]]:
        """What, what the one says, what the other says, and whether that is the same: for a table."""
        one, other = (side.lines for side in self.sides)
        said = [(what, "; ".join(one.get(what, [])), "; ".join(other.get(what, []))) for what in _SHOWN]
        return [(what, a, b, a == b) for what, a, b in said if a or b]


@dataclass(frozen=True, slots=True)
class Said:
    """What came of a person's word."""

    word: Word
    by: str
    pairs: tuple[Pair, ...]
    carried_out: bool
    """False: a sync is running, or the settings name no EHR; the next sync does it."""
    alone: tuple[Record, ...] = field(default=())
    """Records that are the same as either of two who were told apart: somebody has to say whose they are."""

    def to_json(self) -> Json:
        return {
            "word": self.word,
            "by": self.by,
            "pairs": [["/".join(record) for record in pair] for pair in self.pairs],
            "carried_out": self.carried_out,
            "undecided": ["/".join(record) for record in self.alone],
        }


def in_doubt(connection: Connection, *, asked_only: bool = False, most: int | None = None) -> list[InDoubt]:
    """The pairs that may be the same person; those first on which a referral or a plan depends.

    most: how many of them; all, if it is None
    """
    return _shown(connection, doubts.to_decide(connection, asked_only=asked_only, most=most))


def how_many(connection: Connection) -> int:
    """How many pairs may be the same person."""
    return doubts.how_many(connection)


def _shown(connection: Connection, found: Sequence[Doubt]) -> list[InDoubt]:
    records = {record for one in found for record in one.pair}
    patients = doubts.patients_of(connection, records)
    bodies = _bodies(connection, records)

    def side(record: Record) -> Side:
        return Side(record, patients.get(record, ""), _lines(bodies.get(record, {})))

    return [
        InDoubt(
            matches.task_id(one.pair),
            (side(one.pair[0]), side(one.pair[1])),
            one.why,
            from_milliseconds(one.since),
            one.asked,
        )
        for one in found
    ]


def _bodies(connection: Connection, records: set[Record]) -> dict[Record, Json]:
    b = received_base.c
    found: dict[Record, Json] = {}
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            rows = connection.execute(
                select(b.foreign_id, b.body).where(
                    b.ehr == ehr, b.type == "Patient", among(b.foreign_id, chunk)
                )
            )
            found |= {Record(ehr, "Patient", id): jsontext.decode(bytes(body)) for id, body in rows}
    return found


def _lines(patient: Json) -> dict[str, list[str]]:
    """What a Patient says, as a person compares it."""
    said: dict[str, list[str]] = {
        "name": [_name(name) for name in _dicts(patient.get("name"))],
        "identifier": [
            f"{identifier.get('value', '')} ({identifier.get('system', 'no system')})"
            for identifier in _dicts(patient.get("identifier"))
        ],
        "address": [_address(address) for address in _dicts(patient.get("address"))],
        "telecom": [str(telecom.get("value", "")) for telecom in _dicts(patient.get("telecom"))],
        "link": [str(link.get("type", "")) for link in _dicts(patient.get("link"))],
    }
    for what, keys in (
        ("birthDate", ("birthDate",)),
        ("gender", ("gender",)),
        ("deceased", ("deceasedBoolean", "deceasedDateTime")),
        ("multiple birth", ("multipleBirthBoolean", "multipleBirthInteger")),
    ):
        said[what] = [str(patient[key]) for key in keys if patient.get(key) is not None]
    return {what: [line for line in lines if line] for what, lines in said.items() if any(lines)}


def _name(name: Json) -> str:
    given = name.get("given")
    parts = [*(given if isinstance(given, list) else ()), name.get("family")]
    words = " ".join(part for part in parts if isinstance(part, str)) or str(name.get("text", ""))
    use = name.get("use")
    return f"{words} ({use})" if use in ("old", "maiden", "nickname") else words


def _address(address: Json) -> str:
    line = address.get("line")
    parts = [*(line if isinstance(line, list) else ()), address.get("postalCode"), address.get("city")]
    return " ".join(part for part in parts if isinstance(part, str)) or str(address.get("text", ""))


def _dicts(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# --- a person's word ------------------------------------------------------------------------------


def decide(
    store: Store,
    settings: Settings,
    names: Sequence[str],
    word: Word,
    by: str,
    *,
    validate: stage.Validate | None = None,
) -> Said:
    """Keep a person's word that two are the same person, or are not, and carry it out.

    names: a pair of the list (or the beginning of its name); or two patients, each as our Patient/id or as
    the record EHR/id
    by:    the person's name, which is written down

    Raises BadRequest without a name, NoSuchPair, and Conflict if an earlier word speaks against it.
    """
    who = " ".join(by.split())
    if not who or len(who) > _LONGEST:
        raise BadRequest(
            f"Say who you are, in at most {_LONGEST} characters: only a person joins or parts patients."
        )

    def work(transaction: Transaction) -> tuple[Pair, ...]:
        transaction.lock()
        connection = transaction.connection
        pairs = _meant(connection, names, word)
        if word == "same":
            _refuse_contradiction(connection, pairs)
        matches.say(transaction, pairs, word, who)
        return tuple(pairs)

    pairs = store.write(work)
    carried_out = _carry_out(store, settings, validate)
    with store.connect() as connection:
        undecided = _undecided(connection, pairs) if word == "different" and carried_out else ()
    return Said(word, who, pairs, carried_out, undecided)


def _carry_out(store: Store, settings: Settings, validate: stage.Validate | None) -> bool:
    if not settings.ehr:
        return False
    try:
        with alone.alone(store) as beat:
            engine.settle(store, engine.context_of(settings), validate or engine.default_validator(), beat)
    except Conflict:
        return False
    return True


def _meant(connection: Connection, names: Sequence[str], word: Word) -> list[Pair]:
    """The pairs of records that a word is about."""
    if len(names) == 1:
        one = _find(connection, names[0])
        mine, theirs = ([record] for record in one.pair)
        if word == "same":
            return [one.pair]
        mine, theirs = (_all_of(connection, record) for record in one.pair)
    elif len(names) == 2:
        mine, theirs = (_records(connection, name) for name in names)
    else:
        raise BadRequest("Name a pair of `fhir-coprod people list`, or two patients.")
    if set(mine) & set(theirs):
        raise BadRequest(
            "Both names lead to the same records. To part them, name two records as EHR/id; "
            "`Patient.link` of the merged patient lists them."
        )
    every = [pair_of(a, b) for a in mine for b in theirs]
    if word == "different":
        return sorted(every)
    listed = {one.pair for one in doubts.about(connection, mine)}
    return [min((pair for pair in every if pair in listed), default=min(every))]


def _find(connection: Connection, name: str) -> Doubt:
    found = [
        one
        for one in doubts.read(connection)
        if one.why
        and len(name) >= _ENOUGH
        and matches.task_id(one.pair).startswith(name.removeprefix("Task/"))
    ]
    if len(found) > 1:
        raise Conflict(f"{len(found)} pairs begin with {name}; write more of the name.")
    if not found:
        raise NoSuchPair(f"There is no pair {name}; see `fhir-coprod people list`.")
    return found[0]


def _records(connection: Connection, name: str) -> list[Record]:
    """The living records of one patient, or the one record EHR/id."""
    parts = [part for part in name.split("/") if part]
    if len(parts) in (2, 3) and parts[0] != "Patient":
        record = Record(parts[0], "Patient", parts[-1])
        rows = [row for row in load_rows(connection, [record]) if not row.deleted]
        if rows:
            return [record]
    elif parts:
        found = _living(connection, same_resource(connection, "Patient", [parts[-1]]))
        if found:
            return found
    raise NoSuchPair(
        f"There is no patient {name} that came from an EHR; write Patient/id as here, or EHR/id as there."
    )


def _all_of(connection: Connection, record: Record) -> list[Record]:
    """All living records of the patient that a record belongs to here."""
    id = doubts.patients_of(connection, [record]).get(record, "")
    return _living(connection, same_resource(connection, "Patient", [id])) if id else [record]


def _living(connection: Connection, records: set[Record]) -> list[Record]:
    return [row.record for row in load_rows(connection, records) if not row.deleted]


def _refuse_contradiction(connection: Connection, pairs: Sequence[Pair]) -> None:
    """Raise Conflict if two records that would become one were said to be different."""
    w = person_word.c
    for pair in pairs:
        mine, theirs = (_all_of(connection, record) for record in pair)
        for a in mine:
            for b in theirs:
                x, y = pair_of(a, b)
                said = connection.execute(
                    select(w.who, w.said).where(
                        w.ehr_a == x.ehr,
                        w.id_a == x.id,
                        w.ehr_b == y.ehr,
                        w.id_b == y.id,
                        w.word == "different",
                    )
                ).first()
                if said is not None and (x, y) not in pairs:
                    day = from_milliseconds(said[1]).date().isoformat()
                    raise Conflict(
                        f"{said[0]} said on {day} that {x.ehr}/{x.id} and {y.ehr}/{y.id} are different. "
                        "If that was wrong, say `same` of these two first."
                    )


def _undecided(connection: Connection, pairs: Sequence[Pair]) -> tuple[Record, ...]:
    """Records that are in doubt with both of two who were told apart."""
    found: set[Record] = set()
    for a, b in pairs:
        mates = [
            {record for one in doubts.about(connection, [side]) for record in one.pair if record != side}
            for side in (a, b)
        ]
        found |= mates[0] & mates[1]
    return tuple(sorted(found))

"""Asks a person, in a Task, whether two Patients are the same, and keeps what persons said.

It is a Task with the code `possible-same-patient` and the two Patients in `focus` and `input`. It is not
Patient.link seealso, which says that the two *are* known to be the same, and not Linkage, which no worklist
shows. The Task only asks. The answer is a person's word, given by name (`fhir-coprod people`, or the page):
it is kept apart from all records and Tasks, so that no program's Task joins anybody and no later sync
forgets it. If the Task is completed without a person's word, it is opened again and says how to answer. If
somebody rejects or cancels it, it is not asked again, and the pair stays on the list. If the records no
longer look alike, or were merged for another reason, the sync cancels the Task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from sqlalchemy import Connection, select, text, update

from fhir_coprod import jsontext
from fhir_coprod.definitions import CANONICAL
from fhir_coprod.instants import instant, to_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Transaction, Version, guarded
from fhir_coprod.store.schema.sync import crosswalk, person_word
from fhir_coprod.sync.merging import doubts
from fhir_coprod.sync.merging.assign import new_id
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.doubts import Doubt
from fhir_coprod.sync.merging.lookup import same_resource
from fhir_coprod.sync.staging.identity import Pair, pair_of
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import TO_LINK

CODES = f"{CANONICAL}/CodeSystem/task-kind"
"""The code system of Task.code."""
POSSIBLE = "possible-same-patient"
SOURCE = "sync"
"""Version.source of these Tasks."""
BATCH = 20
"""Doubts looked at in one transaction."""

_RECORD_TAG = f"{CANONICAL}/sync/record"
_STAFF_ONLY = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
"""The Task names another person's record, so the patient must not see it."""
_SETTLED = "The records have become one, or are no longer alike."
_HOW = "answer with `fhir-coprod people same` or `different`, or on the page /people, under your name"
_UNSAID = f"Closed, but a Task joins and parts nobody: please {_HOW}."
_NAMESPACE = UUID("9f7f2c0e-3b7c-5c44-8f39-0b9a7fdde2c1")


@dataclass(slots=True)
class Asked:
    """The result of one batch: how many doubts were looked at, and the new questions."""

    doubts: int = 0
    conflicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(EHR, type) → number of pairs that a person was newly asked about."""
    changes: list[Change] = field(default_factory=list)


def task_id(pair: Pair) -> str:
    """The id of the Task about a pair of records; also the name of the pair in the list of doubts."""
    return str(uuid5(_NAMESPACE, "|".join("/".join(record) for record in sorted(pair))))


def ask(transaction: Transaction) -> Asked:
    """Look at a few doubts that are new or have changed: put, bring up to date or withdraw their questions.

    If none is left, open again the questions that somebody completed without a person's word.
    """
    asked = Asked()
    new: dict[tuple[str, str], int] = defaultdict(int)
    waiting = doubts.waiting(transaction.connection, BATCH)
    if not waiting:
        asked.changes += _ask_again(transaction)
    for one in waiting:
        asked.changes += _look_at(transaction, one, new)
    asked.doubts, asked.conflicts = len(waiting), dict(new)
    return asked


def _ask_again(transaction: Transaction) -> list[Change]:
    """Open again the questions that somebody completed without a person's word."""
    open_doubts = doubts.read(transaction.connection, text("asked"))
    tasks = transaction.newest("Task", [task_id(one.pair) for one in open_doubts])
    changes: list[Change] = []
    for one in open_doubts:
        task = tasks.get(task_id(one.pair))
        if task is not None and not task.deleted and task.data.get("status") == "completed":
            changes += _write(transaction, one, "requested", _UNSAID)
    return changes


def _look_at(transaction: Transaction, one: Doubt, new: dict[tuple[str, str], int]) -> list[Change]:
    connection = transaction.connection
    id = task_id(one.pair)
    task = transaction.get("Task", id)
    if not one.why:
        doubts.drop(connection, one.pair)
        return _write(transaction, one, "cancelled", _SETTLED) if task is not None and _is_open(task) else []
    if one.asked:
        doubts.looked_at(connection, one.pair, asked=True)
        return _write(transaction, one) if task is not None and _is_open(task) else []
    patients = doubts.patients_of(connection, one.pair)
    ids = set(patients.values())
    if (
        len(ids) < 2
        or _is_asked_already(transaction, ids)
        or not any(doubts.matters(transaction, i) for i in ids)
    ):
        doubts.looked_at(connection, one.pair, asked=False)
        return []
    doubts.looked_at(connection, one.pair, asked=True)
    if task is not None and not _is_withdrawn(task):
        return _write(transaction, one) if _is_open(task) else []  # somebody turned it down, or deleted it
    new[one.pair[1].ehr, one.pair[1].type] += 1
    return _write(transaction, one, "requested")


def _is_asked_already(transaction: Transaction, patients: Collection[str]) -> bool:
    """Whether a Task asks about two other records of the same two patients."""
    connection = transaction.connection
    records = same_resource(connection, "Patient", patients)
    found = [one for one in doubts.about(connection, records) if one.asked and one.why]
    ids = doubts.patients_of(connection, records)
    return any({ids.get(record) for record in one.pair} == {*patients} for one in found)


def _write(transaction: Transaction, one: Doubt, status: str = "", reason: str = "") -> list[Change]:
    """Ask about the pair, or bring the question up to date and keep what a person added to it."""
    pair = one.pair
    id = task_id(pair)
    before = transaction.get("Task", id)
    ids = doubts.patients_of(transaction.connection, pair)
    first, second = (f"Patient/{ids[record]}" for record in pair)
    task = (
        {**before.data, "status": status or before.data["status"]}
        if before is not None and not before.deleted
        else _question(pair, instant(transaction.now))
    )
    if status == "requested":
        task.pop("output", None)
    task["focus"] = {"reference": first}
    task["input"] = [{"type": {"text": "the other patient"}, "valueReference": {"reference": second}}]
    if one.why:
        task["reasonCode"] = {"text": one.why}
    if reason:
        task["statusReason"] = {"text": reason}
    written = transaction.put(jsontext.from_data(task), id, source=SOURCE)
    return (
        [] if written.change == "unchanged" else [Change(pair[1].ehr, written, before.data if before else {})]
    )


def _question(pair: Pair, authored: str) -> Json:
    return {
        "resourceType": "Task",
        "meta": {
            "security": [_STAFF_ONLY],
            "tag": [{"system": _RECORD_TAG, "code": "/".join(record)} for record in pair],
        },
        "status": "requested",
        "intent": "proposal",
        "code": {
            "coding": [{"system": CODES, "code": POSSIBLE}],
            "text": "Are these two the same person?",
        },
        "description": "Two departments' records look like one person, but not surely. "
        f"Please {_HOW}. This closes the Task; the pair is named {task_id(pair)} there.",
        "authoredOn": authored,
    }


def _is_open(task: Version) -> bool:
    return not task.deleted and task.data.get("status") not in ("completed", "rejected", "cancelled")


def _is_withdrawn(task: Version) -> bool:
    return task.data.get("status") == "cancelled" and task.source == SOURCE


# --- a person's word ------------------------------------------------------------------------------


def is_said_same(connection: Connection, former: str, patient: str) -> bool:
    """Whether a person said that the record from which the Patient `former` was made is this patient."""
    c, w = crosswalk.c, person_word.c
    now = connection.execute(select(c.ehr, c.foreign_id).where(c.type == "Patient", c.id == patient)).all()
    records = {(row.ehr, row.foreign_id) for row in now}
    made_from = next((r for r in records if new_id(Record(r[0], "Patient", r[1])) == former), None)
    if made_from is None:
        return False
    said = connection.execute(
        select(w.ehr_a, w.id_a, w.ehr_b, w.id_b).where(
            w.word == "same",
            ((w.ehr_a == made_from[0]) & (w.id_a == made_from[1]))
            | ((w.ehr_b == made_from[0]) & (w.id_b == made_from[1])),
        )
    )
    return any({(row[0], row[1]), (row[2], row[3])} <= records for row in said)


def say(transaction: Transaction, pairs: Iterable[Pair], word: str, who: str) -> None:
    """Keep a person's word on these pairs, in place of an earlier one, and close the questions about them.

    word: same, or different
    """
    connection = transaction.connection
    c = crosswalk.c
    for a, b in sorted({pair_of(*pair) for pair in pairs}):
        said = (a.ehr, a.id, b.ehr, b.id, word, who, to_milliseconds(transaction.now))
        guarded.put(connection, person_word, [said])
        for r in (a, b):
            connection.execute(
                update(crosswalk)
                .where(c.ehr == r.ehr, c.type == r.type, c.foreign_id == r.id)
                .values(state=TO_LINK)
            )
        _close(transaction, (a, b), word, who)


def _close(transaction: Transaction, pair: Pair, word: str, who: str) -> None:
    task = transaction.get("Task", task_id(pair))
    if task is None or task.deleted:
        return
    answered: Json = {key: value for key, value in task.data.items() if key != "statusReason"}
    answered["status"] = "completed"
    answered["output"] = [{"type": {"text": f"decision of {who}"}, "valueCode": word}]
    transaction.put(jsontext.from_data(answered), task.id, source=SOURCE)

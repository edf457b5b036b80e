"""Asks a person, in a Task, whether two Patients may be the same, and reads the answer.

It is a Task with the code `possible-same-patient` and the two Patients in `focus` and `input`. It is not
Patient.link seealso, which says that the two *are* known to be the same, and not Linkage, which no worklist
shows. If somebody completes the Task with the output `same`, the next sync merges the two. With the output
`different`, or if somebody rejects it, the question is not asked again. If it is completed without a clear
answer, the sync asks again: otherwise it would look decided. If the records no longer look alike, or were
merged for another reason, the sync cancels the Task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from uuid import UUID, uuid5

from sqlalchemy import insert, select, update

from fhir_coprod import jsontext
from fhir_coprod.definitions import CANONICAL
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Query, Store, Transaction, Version
from fhir_coprod.store.schema.sync import crosswalk, sync_key
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.staging.identity import Decisions, Pair
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import TO_LINK

CODES = f"{CANONICAL}/CodeSystem/task-kind"
"""The code system of Task.code."""
POSSIBLE = "possible-same-patient"
SOURCE = "sync"
"""Version.source of these Tasks."""

ASKED = "asked"
"""A sync_key.kind whose keys are the ids of the Tasks that ask about a record."""

_RECORD_TAG = f"{CANONICAL}/sync/record"
_STAFF_ONLY = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
"""The Task names another person's record, so the patient must not see it."""
_SETTLED = "The records have become one, or are no longer alike."
_UNCLEAR = "Completed without the output 'same' or 'different': please say which."
_NAMESPACE = UUID("9f7f2c0e-3b7c-5c44-8f39-0b9a7fdde2c1")


def task_id(pair: Pair) -> str:
    """The id of the Task about a pair of records."""
    return str(uuid5(_NAMESPACE, "|".join("/".join(record) for record in sorted(pair))))


def decided(store: Store) -> list[Pair]:
    """Pairs whose question a person has closed, whatever the answer."""
    found: list[Pair] = []
    pairs = [("code", f"{CODES}|{POSSIBLE}"), ("status", "completed,rejected"), ("_count", "1000")]
    while True:
        page = store.search(Query.parse("Task", pairs))
        found += [pair for pair in map(_pair, page.matches) if pair]
        if page.next is None:
            return found
        pairs = [*pairs[:3], ("_cursor", page.next)]


def wake(transaction: Transaction, pairs: Sequence[Pair]) -> None:
    """Mark records to be linked again if their question was closed and the answer is not carried out yet.

    This only notices that there is an answer; linking reads it again.
    """
    c = crosswalk.c
    for pair in pairs:
        ids = [
            transaction.connection.execute(
                select(c.id).where(
                    c.ehr == r.ehr, c.type == r.type, c.foreign_id == r.id, c.deleted.is_(False)
                )
            ).scalar()
            for r in pair
        ]
        task = transaction.get("Task", task_id(pair))
        if task is None or None in ids:
            continue
        is_one = ids[0] == ids[1]
        is_done = {"same": is_one, "different": not is_one}.get(_verdict(task), False)
        if not is_done:
            for r in pair:
                transaction.connection.execute(
                    update(crosswalk)
                    .where(c.ehr == r.ehr, c.type == r.type, c.foreign_id == r.id)
                    .values(state=TO_LINK)
                )


def decisions(transaction: Transaction, possible: Collection[Pair], asked: Collection[str]) -> Decisions:
    """What people have decided about these pairs, and about the pairs of the earlier Tasks `asked` (ids)."""
    same, different = set(), set()
    for id in sorted({task_id(pair) for pair in possible} | set(asked)):
        task = transaction.get("Task", id)
        pair = _pair(task) if task is not None else None
        if task is None or pair is None:
            continue
        verdict = _verdict(task)
        if verdict == "same":
            same.add(pair)
        elif verdict == "different":
            different.add(pair)
    return Decisions(frozenset(same), frozenset(different))


def raise_and_withdraw(
    transaction: Transaction, possible: Collection[Pair], asked: Collection[str], ids: Mapping[Record, str]
) -> tuple[dict[tuple[str, str], int], list[Change]]:
    """Keep one open Task for each pair of patients that may be the same, and cancel all others.

    asked: the ids of all Tasks about these records so far

    Returns (EHR, type) → number of new questions, and what was written.
    """
    changes: list[Change] = []
    new: dict[tuple[str, str], int] = defaultdict(int)
    by_patients: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for a, b in sorted(possible):
        by_patients[min(ids[a], ids[b]), max(ids[a], ids[b])].append((a, b))
    wanted: set[str] = set()
    for pairs in by_patients.values():
        tasks = {pair: transaction.get("Task", task_id(pair)) for pair in pairs}
        standing = [pair for pair, task in tasks.items() if task is not None and not _is_withdrawn(task)]
        pair = standing[0] if standing else pairs[0]
        task = tasks[pair]
        wanted.add(task_id(pair))
        if task is None or _is_withdrawn(task):
            changes += _write(transaction, pair, ids, "requested")
            _note(transaction, pair)
            new[pair[1].ehr, pair[1].type] += 1
        elif _is_unclear(task):
            changes += _write(transaction, pair, ids, "requested", _UNCLEAR)
            new[pair[1].ehr, pair[1].type] += 1
        elif _is_open(task):
            changes += _write(transaction, pair, ids)  # the patients' ids here may have changed
    for id in sorted(set(asked) - wanted):
        task = transaction.get("Task", id)
        old = _pair(task) if task is not None else None
        if task is not None and old is not None and (_is_open(task) or _is_unclear(task)):
            changes += _write(transaction, old, ids, "cancelled", _SETTLED)
    return dict(new), changes


def _note(transaction: Transaction, pair: Pair) -> None:
    """Note the question with both records, so that they are always linked together from now on."""
    rows = [
        {"type": r.type, "kind": ASKED, "key": task_id(pair), "ehr": r.ehr, "foreign_id": r.id} for r in pair
    ]
    k = sync_key.c
    there = transaction.connection.execute(
        select(k.ehr, k.foreign_id).where(k.type == pair[0].type, k.kind == ASKED, k.key == task_id(pair))
    )
    known = {(ehr, id) for ehr, id in there}
    missing = [row for row in rows if (row["ehr"], row["foreign_id"]) not in known]
    if missing:
        transaction.connection.execute(insert(sync_key), missing)


def _write(
    transaction: Transaction, pair: Pair, ids: Mapping[Record, str], status: str = "", reason: str = ""
) -> list[Change]:
    """Ask about the pair, or bring the question up to date and keep what a person added to it."""
    id = task_id(pair)
    before = transaction.get("Task", id)
    first, second = (f"Patient/{ids[record]}" for record in pair)
    task = (
        {**before.data, "status": status or before.data["status"]}
        if before is not None
        else _question(pair, instant(transaction.now))
    )
    task["focus"] = {"reference": first}
    task["input"] = [{"type": {"text": "the other patient"}, "valueReference": {"reference": second}}]
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
        "description": "Two departments' records look like one person, but not surely. Complete with the "
        "output 'same' or 'different'.",
        "authoredOn": authored,
    }


def _pair(task: Version) -> Pair | None:
    """The two records that a Task is about; None if it does not name two, as when it was deleted."""
    records = sorted(
        Record(*tag["code"].split("/"))
        for tag in (task.data.get("meta") or {}).get("tag") or []
        if tag.get("system") == _RECORD_TAG and str(tag.get("code", "")).count("/") == 2
    )
    return (records[0], records[1]) if len(records) == 2 else None


def _verdict(task: Version) -> str:
    """`same`, `different`, or "" while nobody has decided."""
    if task.data.get("status") == "rejected":
        return "different"
    if task.data.get("status") != "completed":
        return ""
    outputs = [o for o in task.data.get("output") or [] if isinstance(o, dict)]
    answers = {word for output in outputs for word in _words(output)} & {"same", "different"}
    if answers == {"same"}:
        return "same"
    return "different" if answers == {"different"} else ""


def _words(output: Json) -> set[str]:
    """The words in an output, in any of the forms that FHIR has for a code or a text."""
    concept = output.get("valueCodeableConcept") or {}
    codings = [output.get("valueCoding") or {}, *(concept.get("coding") or ())]
    said = [output.get("valueCode"), output.get("valueString"), concept.get("text")]
    said += [coding.get("code") for coding in codings]
    return {word.strip().casefold() for word in said if isinstance(word, str)}


def _is_open(task: Version) -> bool:
    return not task.deleted and task.data.get("status") not in ("completed", "rejected", "cancelled")


def _is_unclear(task: Version) -> bool:
    """Whether it was completed without saying if the two are the same."""
    return not task.deleted and task.data.get("status") == "completed" and not _verdict(task)


def _is_withdrawn(task: Version) -> bool:
    return task.data.get("status") == "cancelled" and task.source == SOURCE

"""Two patients who may be one: a Task that a person decides.

A Task (not Patient.link seealso, which says that the two *are* known to be one; not Linkage, which no
worklist shows) with code `possible-same-patient`, both Patients in `focus` and `input`. Who completes it with
the output `same` makes them one at the next sync; with `different`, or by rejecting it, the question is not
asked again. Completed without a clear word it is asked again: closed would look like decided.
When the records no longer look alike, or have become one by themselves, it is cancelled.
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
"""sync_key.kind: the Tasks in which a record was asked about."""

_RECORD_TAG = f"{CANONICAL}/sync/record"
_STAFF_ONLY = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
"""It names another person's record: kept out of the patient's own view."""
_SETTLED = "The records have become one, or are no longer alike."
_UNCLEAR = "Completed without the output 'same' or 'different': please say which."
_NAMESPACE = UUID("9f7f2c0e-3b7c-5c44-8f39-0b9a7fdde2c1")


def task_id(pair: Pair) -> str:
    """The id of the Task about a pair of records."""
    return str(uuid5(_NAMESPACE, "|".join("/".join(record) for record in sorted(pair))))


def decided(store: Store) -> list[Pair]:
    """Pairs whose question a person has closed, whatever was said."""
    found: list[Pair] = []
    pairs = [("code", f"{CODES}|{POSSIBLE}"), ("status", "completed,rejected"), ("_count", "1000")]
    while True:
        page = store.search(Query.parse("Task", pairs))
        found += [pair for pair in map(_pair, page.matches) if pair]
        if page.next is None:
            return found
        pairs = [*pairs[:3], ("_cursor", page.next)]


def wake(transaction: Transaction, pairs: Sequence[Pair]) -> None:
    """Records whose question was closed are linked again, where the answer is not carried out yet.

    The linking itself reads the answer; here it is only noticed that there is one.
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
    """What persons have decided: about these pairs, and about those that were `asked` (Task ids) earlier."""
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
    """One open Task per pair of patients that may be one, none for others.

    asked: ids of all Tasks about these records so far. Returns (EHR, type) → number newly asked, and what was
    written.
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
    """Both records remember that they were asked about, so that they are looked at together from now on."""
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
    """Asks about the pair, or brings the question up to date; what a person added to it stays."""
    id = task_id(pair)
    before = transaction.get("Task", id)
    first, second = (f"Patient/{ids[record]}" for record in pair)
    task = (
        {**before.data, "status": status or before.data["status"]}
        if before is not None and not before.deleted
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
    """The two records a Task is about; also of a deleted one nothing is known any more."""
    records = sorted(
        Record(*tag["code"].split("/"))
        for tag in (task.data.get("meta") or {}).get("tag") or []
        if tag.get("system") == _RECORD_TAG and str(tag.get("code", "")).count("/") == 2
    )
    return (records[0], records[1]) if len(records) == 2 else None


def _verdict(task: Version) -> str:
    """same, different, or "" while nobody has decided."""
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
    """What an output says, whichever of the ways that FHIR has for a code or a word it uses."""
    concept = output.get("valueCodeableConcept") or {}
    codings = [output.get("valueCoding") or {}, *(concept.get("coding") or ())]
    said = [output.get("valueCode"), output.get("valueString"), concept.get("text")]
    said += [coding.get("code") for coding in codings]
    return {word.strip().casefold() for word in said if isinstance(word, str)}


def _is_open(task: Version) -> bool:
    return not task.deleted and task.data.get("status") not in ("completed", "rejected", "cancelled")


def _is_unclear(task: Version) -> bool:
    """Completed, but nothing that stands there says whether they are one."""
    return not task.deleted and task.data.get("status") == "completed" and not _verdict(task)


def _is_withdrawn(task: Version) -> bool:
    return task.data.get("status") == "cancelled" and task.source == SOURCE

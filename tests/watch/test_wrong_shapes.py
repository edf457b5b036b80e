"""Whatever the shape of a record: nothing breaks, nothing false is claimed, a sound version restores it all.

A referral moves on as it should. One of its records is of a wrong shape, in each place and each way. The
watch may then see less, but it claims nothing that it does not claim of the sound record.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fhir_coprod import jsontext, watched
from fhir_coprod.readable import concerns, elements_of, readable
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.quality import marks
from fhir_coprod.validation import validate_document
from fhir_coprod.watch.facts.reader import Found, Reader, portions
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from tests.wrong_shapes import Json, wrong

POLICY = policies.load("default")
NOW = datetime(2026, 3, 9, 12, tzinfo=UTC)
GP, ORTHO = {"reference": "Organization/gp"}, {"reference": "Organization/ortho"}


def ref(type: str) -> Json:
    return {"reference": f"{type}/x"}


S = ref("ServiceRequest")
CONCEPT = {"coding": [{"system": "http://a.example", "code": "knee"}], "text": "Knee"}
STORY: list[tuple[str, Json]] = [
    (
        "2026-01-08",
        {
            "resourceType": "ServiceRequest",
            "id": "x",
            "status": "active",
            "intent": "order",
            "priority": "routine",
            "subject": ref("Patient"),
            "code": CONCEPT,
            "authoredOn": "2026-01-07T09:00:00Z",
            "requester": GP,
            "performer": [ORTHO],
        },
    ),
    (
        "2026-01-14",
        {
            "resourceType": "Task",
            "id": "x",
            "status": "accepted",
            "intent": "order",
            "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
            "focus": S,
            "for": ref("Patient"),
            "owner": ORTHO,
            "requester": GP,
            "authoredOn": "2026-01-07T10:00:00Z",
            "lastModified": "2026-01-08T10:00:00Z",
        },
    ),
    (
        "2026-02-01",
        {
            "resourceType": "Appointment",
            "id": "x",
            "status": "booked",
            "created": "2026-01-12T10:00:00Z",
            "start": "2026-02-02T10:00:00Z",
            "end": "2026-02-02T11:00:00Z",
            "basedOn": [S],
            "participant": [
                {"actor": ref("Patient"), "status": "accepted"},
                {"actor": {"reference": "HealthcareService/ortho"}, "status": "accepted"},
            ],
        },
    ),
    (
        "2026-02-09",
        {
            "resourceType": "Encounter",
            "id": "x",
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": ref("Patient"),
            "basedOn": [S],
            "appointment": [ref("Appointment")],
            "period": {"start": "2026-02-02T10:00:00Z", "end": "2026-02-02T11:00:00Z"},
            "serviceProvider": ORTHO,
        },
    ),
    (
        "2026-02-23",
        {
            "resourceType": "DiagnosticReport",
            "id": "x",
            "status": "final",
            "code": CONCEPT,
            "subject": ref("Patient"),
            "basedOn": [S],
            "issued": "2026-02-20T10:00:00Z",
            "performer": [ORTHO],
        },
    ),
    (
        "2026-03-01",
        {
            "resourceType": "Communication",
            "id": "x",
            "status": "completed",
            "subject": ref("Patient"),
            "about": [S],
            "sent": "2026-02-22T10:00:00Z",
            "sender": ORTHO,
            "recipient": [GP, ref("Patient")],
        },
    ),
]


class Case(NamedTuple):
    """One referral whose record `type` is of a wrong shape, as it is known at `now`."""

    id: str
    type: str
    now: datetime
    records: Sequence[Json]
    changed: Json
    reads: bool
    """Whether the watch reads what is wrong."""


def cases(choose: random.Random | None, most: int) -> list[Case]:
    """Cases of all kinds; `choose` draws `most` of them."""
    found: list[tuple[int, Json, bool]] = []
    for length in range(1, len(STORY) + 1):
        for changed, _ in wrong(STORY[length - 1][1]):
            unreadable = readable(changed).unreadable
            if unreadable:
                elements = watched.WATCHED[changed["resourceType"]].reads
                reads = any(concerns(gone, element) for gone in unreadable for element in elements)
                found.append((length, changed, reads))
    if choose is not None and most < len(found):
        found = choose.sample(found, most)
    return [_case(number, *one) for number, one in enumerate(found)]


def _case(number: int, length: int, changed: Json, reads: bool) -> Case:
    id = f"c{number}"
    now = datetime.fromisoformat(STORY[length - 1][0]).replace(hour=12, tzinfo=UTC)
    records = [_of(id, record) for _, record in STORY[:length]]
    return Case(id, changed["resourceType"], now, records, _of(id, changed), reads)


def _of(id: str, record: Json) -> Json:
    """The record under an id of its own, and with the ids of its own referral and patient."""
    text = jsontext.encode(record).replace(b'/x"', f'/{id}"'.encode())
    return {**jsontext.decode(text), "id": id}


def put(store: Store, records: Sequence[Json]) -> None:
    def work(transaction: Transaction) -> None:
        for record, document, wrong_in_it in judged:
            transaction.put(document, record["id"], source="ehr:care", marks=wrong_in_it)

    documents = [(record, jsontext.parse(jsontext.encode(record))) for record in records]
    judged = [(record, document, marks(validate_document(document))) for record, document in documents]
    store.write(work)


def found(store: Store) -> dict[str, Found]:
    with store.connect() as connection:
        every = itertools.chain.from_iterable(portions(Reader(connection, Settings())))
        return {one.referral.partition("/")[2]: one for one in every}


def claims(one: Found, now: datetime) -> set[str]:
    assert one.fault == ""
    assert one.facts is not None
    standing = assess(one.facts, POLICY, now)
    return {stall.rule for stall in (*standing.stalls, *standing.notes)}


def check(tmp_path: Path, some: Sequence[Case]) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'sound.db'}") as store:
        put(store, list(_sound(some)))
        known = found(store)
        sound = {case.id: claims(known[case.id], case.now) for case in some}
    with Store.open(f"sqlite:///{tmp_path / 'wrong.db'}") as store:
        put(
            store, [record for case in some for record in case.records if record["resourceType"] != case.type]
        )
        put(store, [case.changed for case in some])
        now_found = found(store)
        for case in some:
            if case.id not in now_found:
                assert case.type == "ServiceRequest"
                continue
            mine = claims(now_found[case.id], case.now)
            assert mine <= sound[case.id], (case.type, case.changed, mine - sound[case.id])
            if not case.reads:
                assert mine == sound[case.id], (case.type, case.changed)
        put(
            store, [record for case in some for record in case.records if record["resourceType"] == case.type]
        )
        restored = found(store)
        for case in some:
            assert claims(restored[case.id], case.now) == sound[case.id], (case.type, case.changed)
        assert store.faults() == []


def _sound(some: Sequence[Case]) -> Iterator[Json]:
    for case in some:
        yield from case.records


def test_wrong_shapes_break_nothing_and_claim_nothing_false(tmp_path: Path) -> None:
    check(tmp_path, cases(random.Random(7), 150))


@pytest.mark.parametrize("length", range(1, len(STORY) + 1))
def test_a_record_without_its_status_cannot_be_seen_and_is_not_taken_for_absent(
    tmp_path: Path, length: int
) -> None:
    changed = {key: value for key, value in STORY[length - 1][1].items() if key != "status"}
    check(tmp_path, [_case(1, length, changed, True)])


@pytest.mark.proof
def test_every_wrong_shape_at_every_element_breaks_nothing_and_claims_nothing_false(tmp_path: Path) -> None:
    every = cases(None, 0)
    assert len(every) > 2_000
    for number, start in enumerate(range(0, len(every), 400)):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(folder, every[start : start + 400])


READ = {element.partition(".")[0] for row in watched.WATCHED.values() for element in row.reads}
"""The names of the elements that the watch reads, of any type."""
ODD = ("text", 5, True, ["text"], [5], [[]], {"a": 1}, [{"reference": 5}])


@pytest.mark.parametrize("type", [type for type, row in watched.WATCHED.items() if row.reads])
def test_elements_that_r4_does_not_give_a_type_break_nothing_whatever_they_hold(
    tmp_path: Path, type: str
) -> None:
    """They are kept as they come: nobody knows their form, so nobody may read them."""
    below = {**STORY[0][1], "id": "below", "basedOn": [S]}
    task = {**STORY[1][1], "id": "below", "focus": {"reference": "ServiceRequest/below"}}
    sound = [*(record for _, record in STORY), below, task]
    sound += [
        {"resourceType": other, "id": "x", "subject": ref("Patient"), "status": "current"}
        for other in ("DocumentReference", "CommunicationRequest", "RelatedPerson", "Patient", "Organization")
    ]
    strange = [record for record in sound if record["resourceType"] == type]
    strange = strange or [{"resourceType": type, "id": "x", "status": "active"}]
    foreign = READ - elements_of(type).keys() - {"resourceType"}
    with Store.open(f"sqlite:///{tmp_path / 'strange.db'}") as store:
        put(store, sound)
        known = {id: claims(one, NOW) for id, one in found(store).items()}
        watch = Watch(store, POLICY, Settings())
        watch.catch_up(NOW)
        for value in ODD:
            put(store, [{**record, **dict.fromkeys(foreign, value)} for record in strange])
            assert {id: claims(one, NOW) for id, one in found(store).items()} == known, value
            watch.catch_up(NOW)


CONTAINED = [
    {"resourceType": type, "id": "o", element: value}
    for type in ("Organization", "PractitionerRole", "Practitioner", "Bundle", "Nobody", "")
    for element in ("identifier", "name", "practitioner", "organization")
    for value in (*ODD, {"reference": "#o"}, {"reference": "#p"}, {"system": "urn:x", "value": "1"})
]


def test_a_contained_party_breaks_nothing_whatever_it_holds(tmp_path: Path) -> None:
    round_about = {"resourceType": "PractitionerRole", "id": "p", "practitioner": {"reference": "#o"}}
    party = {"reference": "#o"}
    with Store.open(f"sqlite:///{tmp_path / 'contained.db'}") as store:
        for number, contained in enumerate(CONTAINED):
            order = {**STORY[0][1], "contained": [contained, round_about], "performer": [party]}
            task = {**STORY[1][1], "contained": [contained, round_about], "owner": party}
            put(store, [_of(f"c{number}", order), _of(f"c{number}", task)])
        every = found(store)
        assert len(every) == len(CONTAINED)
        for one in every.values():
            claims(one, NOW)


def test_the_story_itself_stalls_only_where_it_should(tmp_path: Path) -> None:
    """Otherwise nothing false could be claimed of a wrong one."""
    with Store.open(f"sqlite:///{tmp_path / 'sound.db'}") as store:
        for length in range(1, len(STORY) + 1):
            case = _case(length, length, STORY[length - 1][1], True)
            put(store, case.records)
            told = claims(found(store)[case.id], case.now)
            assert told <= {"patient-not-informed"}, (length, told)
            without = [record for record in case.records if record["resourceType"] != case.type]
            if without:
                lost = _case(100 + length, length, STORY[length - 1][1], True)
                put(store, [r for r in lost.records if r["resourceType"] != lost.type])
                assert claims(found(store)[lost.id], lost.now) - told, length


@pytest.mark.parametrize("type", ["Task", "Encounter", "DiagnosticReport"])
def test_the_live_watch_sees_a_record_that_no_longer_says_what_it_belongs_to(
    tmp_path: Path, type: str
) -> None:
    """It names the patient only; the watch that follows the log looks at that patient's referrals again."""
    length = next(n for n, (_, record) in enumerate(STORY, 1) if record["resourceType"] == type)
    case = _case(1, length, STORY[length - 1][1], True)
    element = "focus" if type == "Task" else "basedOn"
    broken: dict[str, Any] = {**case.records[-1], element: "ServiceRequest"}
    broken.pop("appointment", None)
    with Store.open(f"sqlite:///{tmp_path / 'live.db'}") as store:
        put(store, case.records)
        watch = Watch(store, POLICY, Settings())
        watch.catch_up(case.now)
        put(store, [broken])
        watch.catch_up(case.now)
        issues = store.changes(0, 10_000)
        raised = [v for v in issues if v.type == "DetectedIssue" and v.data["status"] != "cancelled"]
        rules = {code["code"] for v in raised for code in v.data["code"]["coding"]}
        assert rules <= {"patient-not-informed"}


@pytest.mark.parametrize(
    ("priority", "sound_tasks", "is_claimed"),
    [("routine", 0, False), ("routine", 1_200, True), ("urgent", 0, True), ("stat", 0, True)],
)
def test_a_record_that_names_nobody_is_no_excuse_while_it_is_one_of_many_or_the_referral_is_urgent(
    tmp_path: Path, priority: str, sound_tasks: int, is_claimed: bool
) -> None:
    case = _case(1, 1, STORY[0][1], True)
    request = {**case.records[0], "priority": priority}
    nameless = {**STORY[1][1], "id": "nameless", "focus": "x", "for": "x"}
    others = [
        jsontext.from_data(
            {"resourceType": "Task", "id": f"t{n}", "status": "draft", "intent": "order", "code": CONCEPT}
        )
        for n in range(sound_tasks)
    ]
    with Store.open(f"sqlite:///{tmp_path / 'nameless.db'}") as store:
        put(store, [request, nameless])
        store.write(lambda t: [t.put(task, task.data["id"], source="ehr:care") for task in others] and None)
        told = claims(found(store)[case.id], datetime(2026, 2, 1, tzinfo=UTC))
    assert ("not-sent" in told) is is_claimed

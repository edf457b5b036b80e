"""Records as guides and other hospitals write them, through the store: what the watch says of each.

Each case is the base of `cases.py` with a few resources in place of others or beside them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import NotFound
from fhir_coprod.files.finding import find
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.reader import gather
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from tests.watch.cases import (
    BSER,
    CA,
    MARCH,
    NOW,
    NUMBER,
    TASK_CODE,
    Json,
    Watch,
    at,
    code,
    order,
    resource,
    rules,
    task,
    told,
)

# -- which Task asks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [
        {"code": code("http://snomed.info/sct", "3457005")},
        {"focus": None, "basedOn": [at("ServiceRequest/s")]},
        {"focus": {"type": "ServiceRequest", "identifier": NUMBER}},
        {"code": code("urn:site", "our own code"), "owner": at("Organization/clinic")},
    ],
    ids=["SNOMED", "basedOn", "identifier", "owner is the performer"],
)
def test_a_task_asks_however_its_guide_writes_it(watch: Watch, says: Json) -> None:
    written = {key: value for key, value in task(**says).items() if value is not None}
    assert watch(order(identifier=[NUMBER]), written, told()).stage == "accepted"


@pytest.mark.parametrize(
    "says",
    [
        {"code": code(TASK_CODE, "abort")},
        {"code": code(TASK_CODE, "approve")},
        {"owner": at("Patient/p")},
        {"focus": None},
        {"focus": {"identifier": {"value": "R-1"}}},
        {"focus": {"identifier": NUMBER}, "for": at("Patient/other")},
    ],
    ids=["abort", "approve", "the patient's", "a group", "a number without a system", "another patient"],
)
def test_a_task_that_asks_for_something_else_is_not_the_ask(watch: Watch, says: Json) -> None:
    written = {key: value for key, value in task(**says).items() if value is not None}
    assert watch(order(identifier=[NUMBER]), written, told()).stage == "written"


def test_prior_authorisation_is_no_acceptance(watch: Watch) -> None:
    kind = [code("http://terminology.hl7.org/CodeSystem/organization-type", "pay")]
    payer = resource("Organization/payer", type=kind)
    standing = watch(order(), payer, task(status="completed", owner=at("Organization/payer")), told())
    assert (standing.stage, rules(standing)) == ("written", ["not-sent"])


# -- what counts as a result --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "says",
    [
        {"output": [{"type": {"text": "done"}, "valueReference": at("Procedure/x")}]},
        {"output": [{"type": {"text": "done"}, "valueCodeableConcept": {"text": "counselled"}}]},
        {"output": [{"type": {"text": "done"}, "valueReference": at("Observation/x")}]},
        {"output": [{"type": {"text": "done"}, "valueReference": at("Composition/x")}]},
        {
            "status": "in-progress",
            "businessStatus": code(BSER, "7.0"),
            "output": [{"type": {"text": "done"}, "valueReference": at("Bundle/x")}],
        },
    ],
    ids=["Procedure", "code only", "Observation", "Composition", "document Bundle by a code"],
)
def test_the_output_of_a_finished_task_is_its_answer(watch: Watch, says: Json) -> None:
    standing = watch(
        order(), task(**{"status": "completed", "lastModified": MARCH.format(31)} | says), told()
    )
    assert (standing.stage, rules(standing)) == ("returned", [])


def test_a_message_in_place_of_a_visit_is_an_answer(watch: Watch) -> None:
    advice = told(
        "a",
        about=[],
        basedOn=[at("ServiceRequest/s")],
        sender=at("Organization/clinic"),
        recipient=[at("Organization/gp")],
        sent="2026-04-01T10:00:00Z",
    )
    standing = watch(order(), task(status="completed", lastModified=MARCH.format(31)), advice, told())
    assert (standing.stage, rules(standing)) == ("returned", [])


def test_words_name_a_visit_only_where_there_was_one(watch: Watch) -> None:
    standing = watch(order(), task(status="completed", lastModified=MARCH.format(10)), told())
    assert rules(standing) == ["results-missing"]
    assert "visit" not in standing.explanation


def test_a_document_that_r5_bases_on_the_request_is_its_answer(watch: Watch) -> None:
    based = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.basedOn"
    document = resource(
        "DocumentReference/d",
        status="current",
        docStatus="final",
        date=MARCH.format(20),
        author=[at("Organization/clinic")],
        content=[{"attachment": {"title": "Answer"}}],
        extension=[{"url": based, "valueReference": at("ServiceRequest/s")}],
    )
    assert watch(order(), task(), document, told()).stage == "resulted"


# -- bookings -----------------------------------------------------------------------------------------------


def booking(named: str, *actors: str) -> Json:
    return resource(
        "Appointment/a",
        status="booked",
        created=MARCH.format(6),
        start="2026-05-06T09:00:00Z",
        end="2026-05-06T10:00:00Z",
        supportingInformation=[at(named)],
        participant=[{"actor": at(actor), "status": "accepted"} for actor in ("Patient/p", *actors)],
    )


@pytest.mark.parametrize("named", ["ServiceRequest/s", "Task/t"])
@pytest.mark.parametrize("actors", [(), ("Organization/clinic",)], ids=["patient alone", "the department"])
def test_a_booking_may_stand_beside_the_request(watch: Watch, named: str, actors: tuple[str, ...]) -> None:
    records = [order(), booking(named, *actors), told()]
    assert watch(*records, *([task()] if named == "Task/t" else [])).stage == "scheduled"


def test_a_booking_tells_whether_tasks_are_in_use_and_an_order_alone_tells_nothing(watch: Watch) -> None:
    assert watch(order(), told()).steps == ()
    assert watch(order(), booking("ServiceRequest/s"), told()).steps == ("task-",)
    assert watch(order(), task(), booking("ServiceRequest/s"), told()).steps == ("task+",)


def test_a_booking_of_somebody_else_that_only_mentions_the_request_is_not_its_own(watch: Watch) -> None:
    assert watch(order(), task(), booking("ServiceRequest/s", "Organization/hub"), told()).stage == "accepted"


def test_what_follows_a_booking_of_somebody_else_is_not_its_own_either(watch: Watch) -> None:
    """The visit, and what was written of it, belong to that booking."""
    theirs = {**booking("ServiceRequest/s", "Organization/hub"), "status": "fulfilled"}
    visit = resource(
        "Encounter/e",
        status="finished",
        appointment=[at("Appointment/a")],
        serviceProvider=at("Organization/hub"),
        period={"start": MARCH.format(10), "end": MARCH.format(10)},
    )
    letter = resource(
        "DocumentReference/d",
        status="current",
        docStatus="final",
        date=MARCH.format(11),
        author=[at("Organization/hub")],
        content=[{"attachment": {"title": "Note"}}],
        context={"encounter": [at("Encounter/e")]},
    )
    assert watch(order(), task(), theirs, visit, letter, told()).stage == "accepted"
    own = {**visit, "basedOn": [at("ServiceRequest/s")]}
    assert watch(order(), task(), theirs, own, told()).stage == "resulted", "the visit names it itself"


def test_a_booking_of_somebody_of_whom_nobody_knows_where_they_work_is_not_somebody_else_s(
    watch: Watch,
) -> None:
    assert watch(order(), task(), booking("Task/t", "Practitioner/ann"), told()).stage == "scheduled"


def test_if_nobody_is_named_as_asked_any_department_may_have_booked(watch: Watch) -> None:
    asked = [order(performer=[]), task(owner={})]
    assert watch(*asked, booking("Task/t", "Organization/hub"), told()).stage == "scheduled"


@pytest.mark.parametrize(
    ("says", "is_untold"), [({"businessStatus": code(BSER, "5.1.4")}, False), ({}, True)], ids=["seen", "no"]
)
def test_nobody_knows_when_a_task_was_accepted_if_the_first_word_of_it_is_a_visit(
    watch: Watch, says: Json, is_untold: bool
) -> None:
    late = task(status="in-progress", lastModified="2026-04-06T09:00:00Z", **says)
    found = rules(watch(order(), late, told(sent=MARCH.format(10))))
    assert ("patient-not-informed" in found) is is_untold


def test_a_booking_by_a_code_is_scheduled_at_a_time_that_nobody_says(watch: Watch) -> None:
    standing = watch(order(), task(status="in-progress", businessStatus=code(BSER, "5.1.1")), told())
    assert (standing.stage, standing.due, rules(standing)) == ("scheduled", None, [])


# -- telling and objecting ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word",
    [
        told(about=[], basedOn=[{"identifier": NUMBER}]),
        resource(
            "Task/call",
            status="completed",
            intent="order",
            code=code(
                "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes",
                "make-contact",
            ),
            partOf=[at("Task/t")],
            owner=at("Patient/p"),
            requester=at("Organization/clinic"),
            authoredOn="2026-04-10T09:00:00Z",
            lastModified="2026-04-11T09:00:00Z",
        ),
    ],
    ids=["a message by number", "a Task to the patient"],
)
def test_the_patient_was_told(watch: Watch, word: Json) -> None:
    now = datetime(2026, 4, 12, tzinfo=UTC)
    standing = watch(order(identifier=[NUMBER]), task(), word, now=now)
    assert "patient-not-informed" not in rules(standing)
    assert standing.last_informed


HUSBAND = resource("RelatedPerson/husband", active=True, patient=at("Patient/p"))


def test_an_objection_binds_its_recipient_and_what_it_is_about(sqlite_store: Store, watch: Watch) -> None:
    wish = resource(
        "CommunicationRequest/no",
        status="active",
        doNotPerform=True,
        about=[at("ServiceRequest/s")],
        recipient=[at("RelatedPerson/husband")],
    )
    assert not watch(order(), task(), HUSBAND, wish).do_not_contact
    assert gather(sqlite_store, "s").silent == ("RelatedPerson/husband",)
    own = {**wish, "recipient": [at("Patient/p")]}
    assert watch(own).do_not_contact
    elsewhere = {**own, "about": [at("ServiceRequest/other")]}
    assert not watch(elsewhere).do_not_contact


def test_a_message_that_was_refused_binds_that_message_only(watch: Watch) -> None:
    refused = told(
        "no",
        status="not-done",
        recipient=[at("RelatedPerson/husband")],
        statusReason=code(
            "http://terminology.hl7.org/CodeSystem/communication-not-done-reason", "patient-objection"
        ),
    )
    standing = watch(order(), task(), HUSBAND, refused)
    assert not standing.do_not_contact
    assert "objected to a message on 10 April 2026" in standing.explanation


def test_an_order_says_that_the_patient_is_not_to_be_contacted(watch: Watch) -> None:
    system = "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes"
    assert watch(order(orderDetail=[code(system, "contacting-subject-prohibited")]), task()).do_not_contact


# -- words of a workflow ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "stage", "found"),
    [
        ({"businessStatus": code(BSER, "5.2")}, "accepted", ["cancellation-unanswered", "unscheduled"]),
        (
            {"status": "cancelled", "businessStatus": code(CA, "cancelled-by-patient")},
            "written",
            ["withdrawal-undecided"],
        ),
        (
            {"status": "cancelled", "businessStatus": code(CA, "cancelled-by-health-system")},
            "sent",
            ["rejected-not-rerouted"],
        ),
        ({"businessStatus": code(CA, "no-show")}, "accepted", ["no-show-open"]),
        ({"businessStatus": code(BSER, "5.1.2")}, "accepted", ["no-show-open"]),
        ({"businessStatus": code(BSER, "5.1.3")}, "accepted", ["cancelled-not-rebooked"]),
        (
            {
                "businessStatus": code(CA, "awaiting-booking"),
                "restriction": {"period": {"end": "2026-06-30"}},
            },
            "accepted",
            [],
        ),
        (
            {
                "status": "rejected",
                "businessStatus": code("https://fhir.nhs.uk/CodeSystem/eRS-ReferralState", "TRIAGE_RESPONSE"),
            },
            "returned",
            ["half-closed", "not-reviewed"],
        ),
    ],
)
def test_codes_of_guides_say_how_far_it_came(watch: Watch, says: Json, stage: str, found: list[str]) -> None:
    standing = watch(order(), task(**{"status": "in-progress"} | says), told())
    assert (standing.stage, sorted(rules(standing))) == (stage, found)


@pytest.mark.parametrize(
    ("focus", "owner"), [("Task/t", "Organization/clinic"), ("ServiceRequest/s", "Organization/gp")]
)
def test_a_request_to_cancel_that_nobody_answers(watch: Watch, focus: str, owner: str) -> None:
    abort = task(
        "abort",
        "requested",
        code=code(TASK_CODE, "abort"),
        focus=at(focus),
        owner=at(owner),
        authoredOn=MARCH.format(9),
    )
    standing = watch(order(), task(status="in-progress"), abort, told())
    (asked,) = [stall for stall in standing.stalls if stall.rule == "cancellation-unanswered"]
    assert asked.owner == owner


def test_of_several_requests_to_cancel_the_first_counts(watch: Watch) -> None:
    asks = {"code": code(TASK_CODE, "abort"), "focus": at("Task/t")}
    aborts = [task(f"abort-{day}", "requested", authoredOn=MARCH.format(day), **asks) for day in (12, 9, 16)]
    standing = watch(order(), task(status="in-progress"), *aborts, told())
    (asked,) = [stall for stall in standing.stalls if stall.rule == "cancellation-unanswered"]
    assert asked.since.day == 9


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (task(status="acknowledged"), "Task acknowledged"),
        (task(businessStatus=code("urn:site:states", "Q7")), "urn:site:states|Q7"),
    ],
)
def test_a_state_that_nobody_knows_is_shown(watch: Watch, record: Json, words: str) -> None:
    standing = watch(order(), record, told())
    assert standing.unknown == (words,)
    assert f"unknown state: {words}" in standing.explanation
    assert standing.to_json()["unknown_states"] == [words]


# -- what proves nothing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "modified",
    [
        {"modifierExtension": [{"url": "urn:unknown", "valueBoolean": True}]},
        {"implicitRules": "urn:unknown"},
        {"restriction": {"modifierExtension": [{"url": "urn:unknown", "valueBoolean": True}]}},
    ],
    ids=["modifierExtension", "implicitRules", "further inside"],
)
def test_what_may_mean_the_opposite_proves_nothing_and_hides_nothing(watch: Watch, modified: Json) -> None:
    standing = watch(order(), task(**modified), told())
    assert (standing.stage, rules(standing), standing.not_observable) == ("written", [], ("Task",))


def test_a_request_that_may_mean_the_opposite_claims_nothing(watch: Watch) -> None:
    standing = watch(order(implicitRules="urn:unknown"), task(), told())
    assert (rules(standing), standing.not_observable) == ([], ("ServiceRequest",))


def test_the_deceased_get_no_letter(watch: Watch) -> None:
    from fhir_coprod.watch.letters import drafts

    standing = watch(order(), task(), resource("Patient/p", deceasedDateTime=MARCH.format(20)))
    assert rules(standing) == []
    assert [(note.rule, note.owner) for note in standing.notes] == [
        ("patient-deceased", "Organization/clinic")
    ]
    assert drafts.subjects(standing) == ()
    with pytest.raises(NotFound, match="died"):
        drafts.draft(standing, "en", NOW.date())


# -- whole cases in one Bundle ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["message", "document"])
def test_a_referral_that_comes_in_a_bundle_appears(sqlite_store: Store, tmp_path: Path, kind: str) -> None:
    from fhir_coprod.store import loading

    header = {"resourceType": "MessageHeader", "eventUri": "urn:new", "source": {"endpoint": "urn:gp"}}
    letter = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Referral"},
        "date": MARCH.format(2),
        "author": [{"display": "GP"}],
        "title": "Referral",
    }
    referral = order(subject=at("urn:uuid:0a1b2c3d-0000-4000-8000-00000000000a"))
    del referral["id"]
    entries = [header if kind == "message" else letter, referral, {"resourceType": "Patient"}]
    case = {
        "resourceType": "Bundle",
        "id": "case",
        "type": kind,
        "identifier": NUMBER,
        "timestamp": MARCH.format(2),
        "entry": [
            {"fullUrl": f"urn:uuid:0a1b2c3d-0000-4000-8000-00000000000{number}", "resource": one}
            for number, one in zip("89a", entries, strict=True)
        ],
    }
    file = tmp_path / "case.json"
    file.write_bytes(jsontext.encode(case))
    assert loading.load(sqlite_store, find([file])).dead == 0
    known = gather(sqlite_store, "0a1b2c3d-0000-4000-8000-000000000009")
    standing = assess(known, policies.load("default"), NOW)
    assert (standing.stage, standing.patient) == (
        "written",
        "Patient/0a1b2c3d-0000-4000-8000-00000000000a",
    )

"""Which orders are referrals, and why: each row of the table, and what the watch does with the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.watch import assess
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.parties import Between, Place, Side, between
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.standing import Standing

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = policies.load("default")
LABORATORY, IMAGING, REFERRAL = "108252007", "363679005", "3457005"
AROUND = Surroundings(
    behind={
        "PractitionerRole/gp": ("Practitioner/eva", "Organization/gp"),
        "PractitionerRole/eva-at-clinic": ("Practitioner/eva", "Organization/clinic"),
        "PractitionerRole/nurse": ("Practitioner/nurse", "Organization/clinic"),
        "PractitionerRole/heart": ("Practitioner/bo", "Organization/hospital"),
        "PractitionerRole/knee": ("Practitioner/ann", "Organization/hospital"),
        "PractitionerRole/knee-too": ("Practitioner/kim", "Organization/hospital"),
        "HealthcareService/x-ray": ("Organization/hospital",),
    },
    places={
        "Organization/ward": Place(("Organization/hospital",), is_department=True),
        "Organization/clinic": Place((), is_department=True),
    },
    specialties={
        "PractitionerRole/heart": frozenset({"urn:s|heart"}),
        "PractitionerRole/knee": frozenset({"urn:s|knee"}),
        "PractitionerRole/knee-too": frozenset({"urn:s|knee"}),
    },
)


def held(type: str, **says: Any) -> Held:
    data = {"resourceType": type, "id": "x", **says}
    return Held(f"{type}/x", ((MONDAY, data),))


def by(reference: str) -> dict[str, str]:
    return {"reference": reference}


def order(category: str = "", **says: Any) -> Held:
    if category:
        says["category"] = [{"coding": [{"system": "http://snomed.info/sct", "code": category}]}]
    for name in ("requester", "performer"):
        if isinstance(says.get(name), str):
            says[name] = by(says[name]) if name == "requester" else [by(says[name])]
    return held(
        "ServiceRequest",
        **{
            "status": "active",
            "intent": "order",
            "subject": by("Patient/p"),
            "authoredOn": "2026-03-02T09:00:00Z",
        }
        | says,
    )


def standing(request: Held, *related: Held, days: int = 40, policy: policies.Policy = POLICY) -> Standing:
    return assess(compose(request, related, around=AROUND), policy, MONDAY + days * DAY)


def task(owner: str = "", **says: Any) -> Held:
    owned = {"owner": by(owner)} if owner else {}
    return held(
        "Task",
        **{"status": "requested", "intent": "order", "focus": by("ServiceRequest/x")} | owned | says,
        lastModified="2026-03-02T09:00:00Z",
    )


VISIT = held(
    "Encounter",
    status="finished",
    basedOn=[by("ServiceRequest/x")],
    period={"start": "2026-03-03", "end": "2026-03-03"},
)
REPORT = held(
    "DiagnosticReport", status="final", basedOn=[by("ServiceRequest/x")], issued="2026-03-04T09:00:00Z"
)
GP, CLINIC, A = "PractitionerRole/gp", "Organization/clinic", "Practitioner/a"
CONSULTATION = {"coding": [{"system": "http://snomed.info/sct", "code": "11429006"}]}


def named(display: str) -> dict[str, Any]:
    """A code of which nobody here knows more than its name."""
    return {"coding": [{"system": "urn:c", "code": "77", "display": display}]}


@pytest.mark.parametrize(
    ("scope", "why", "request_", "related"),
    [
        ("referral", "the patient asks", order(intent="proposal", requester="Patient/p"), []),
        ("referral", "a Task asks", order(requester=GP), [task(CLINIC)]),
        ("referral", "a Task asks", order(requester=GP), [task()]),
        ("referral", "a Task asks", order(LABORATORY, requester=GP), [task(CLINIC)]),
        (
            "referral",
            "a Task asks",
            order(requester="PractitionerRole/knee"),
            [task("PractitionerRole/heart")],
        ),
        ("unclear", "not known who is asked", order(requester=GP), [task(GP)]),
        ("unclear", "not known who is asked", order(requester=GP), [task("PractitionerRole/eva-at-clinic")]),
        ("unclear", "not known who is asked", order(requester=GP), [task(CLINIC, status="entered-in-error")]),
        ("out", "part of another", order(REFERRAL, intent="reflex-order", requester=GP), []),
        ("referral", "code, category or profile", order(REFERRAL), []),
        ("referral", "code, category or profile", order(code={"text": "Referral to ENT"}), []),
        (
            "referral",
            "code, category or profile",
            order(code=named("Remiss till hud"), requester=GP),
            [],
        ),
        ("referral", "code, category or profile", order(code=named("Referral  for procedure")), []),
        ("unclear", "not known who asks", order(code={"text": "Letter: referral to ENT"}), []),
        ("unclear", "not known who asks", order(code={"text": "Refer tonometry"}), []),
        ("unclear", "not known who asks", order(code=CONSULTATION, performer="Practitioner/b"), []),
        ("referral", "a consultation", order(code=CONSULTATION, requester=A, performer="Practitioner/b"), []),
        ("out", "who asks", order(code=CONSULTATION, requester=A, performer=A), []),
        ("unclear", "one department", order(code=CONSULTATION, requester=CLINIC, performer=CLINIC), []),
        ("referral", "a visit", order(LABORATORY, requester=GP), [VISIT]),
        ("diagnostic", "laboratory", order(LABORATORY, requester=GP, performer="Organization/lab"), []),
        ("diagnostic", "within one department", order(IMAGING, requester=GP, performer=GP), []),
        ("referral", "another", order(IMAGING, requester=GP, performer=CLINIC), []),
        ("out", "who asks does it", order(requester=GP, performer="PractitionerRole/eva-at-clinic"), []),
        ("referral", "another", order(requester=GP, performer=CLINIC), []),
        ("unclear", "not known who asks", order(performer=CLINIC), []),
        ("unclear", "not known who is asked", order(requester=GP), []),
        ("unclear", "one department", order(requester=CLINIC, performer=CLINIC), []),
        ("unclear", "two departments", order(requester="Practitioner/a", performer="Practitioner/b"), []),
    ],
)
def test_the_first_row_that_fits_decides_and_says_why(
    scope: str, why: str, request_: Held, related: list[Held]
) -> None:
    found = standing(request_, *related)
    assert (found.scope, why in found.in_scope) == (scope, True), found.in_scope
    assert found.to_json()["in_scope"] == found.in_scope


def test_what_is_out_of_scope_is_silence_and_says_why() -> None:
    found = standing(order(requester=GP, performer=GP))
    assert (found.stage, found.stalls, found.wake) == (None, (), None)
    assert found.explanation == "Not watched, because who asks does it."


def test_a_laboratory_order_without_result_is_counted_and_nobody_is_alerted() -> None:
    found = standing(order(LABORATORY, requester=GP))
    assert not found.is_open
    assert (found.stalls, [stall.rule for stall in found.counted]) == ((), ["results-missing"])
    assert "since it was ordered on 2 March 2026" in found.explanation


def test_a_result_that_nobody_has_read_is_counted_until_the_order_is_completed() -> None:
    assert [each.rule for each in standing(order(LABORATORY, requester=GP), REPORT).counted] == [
        "not-reviewed"
    ]
    read = standing(order(LABORATORY, requester=GP, status="completed"), REPORT)
    assert (read.stage, read.counted) == ("closed", ())


def test_a_department_that_wants_it_is_alerted_about_its_diagnostic_orders(tmp_path: Path) -> None:
    for named, alerted in (("*", True), ("Organization/gp", True), ("Organization/other", False)):
        policy = ours(tmp_path, f"[orders]\ndiagnostic_alerts_for = ['{named}']\n")
        found = standing(order(LABORATORY, requester=GP), policy=policy)
        assert bool(found.stalls) is alerted
        assert bool(found.counted) is not alerted


@pytest.mark.parametrize(
    ("owner", "scope"),
    [
        ("PractitionerRole/nurse", "unclear"),
        ("Practitioner/kim", "referral"),  # of whom it is not known where they work
        ("Organization/gp", "referral"),
        ("Organization/clinic", "unclear"),
        ("", "referral"),
    ],
)
def test_a_task_to_a_colleague_of_the_same_department_makes_no_referral(owner: str, scope: str) -> None:
    request = order(requester="PractitionerRole/eva-at-clinic", code={"text": "Wound care"})
    found = standing(request, task(owner, status="accepted"))
    assert found.scope == scope
    assert bool(found.stalls) is (scope == "referral")


def test_a_task_that_a_colleague_passed_to_another_department_asks_that_one() -> None:
    first = task("PractitionerRole/nurse").data
    then = {**first, "owner": by("Organization/gp"), "lastModified": "2026-03-03T09:00:00Z"}
    passed = Held("Task/x", ((MONDAY, first), (MONDAY + DAY, then)))
    request = order(requester="PractitionerRole/eva-at-clinic")
    assert standing(request, passed).scope == "referral"
    assert standing(request, task("PractitionerRole/nurse")).scope == "unclear"


def test_a_hospital_that_is_one_organization_is_no_single_department() -> None:
    request = order(requester="PractitionerRole/heart")
    assert standing(request, task("PractitionerRole/knee")).scope == "referral"
    assert standing(request, task("Organization/hospital")).scope == "referral"


def test_what_may_be_a_referral_is_listed_apart_when_it_was_not_sent_and_nothing_else_is_claimed() -> None:
    found = standing(order(requester=GP))
    assert found.is_open
    assert found.is_unclear
    assert (found.stalls, [stall.rule for stall in found.counted]) == ((), ["not-sent"])
    seen = standing(order(requester=GP), VISIT)
    assert (seen.stage, seen.stalls, seen.counted) == ("seen", (), ())


# -- who is who ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("Organization/gp", "Organization/clinic", Between.DIFFERENT_DEPARTMENTS),
        ("Organization/clinic", "Organization/clinic", Between.SAME_DEPARTMENT),
        ("Organization/hospital", "Organization/hospital", Between.UNCLEAR),
        ("Organization/hospital", "Organization/ward", Between.UNCLEAR),
        ("PractitionerRole/heart", "PractitionerRole/knee", Between.DIFFERENT_DEPARTMENTS),
        ("PractitionerRole/knee", "PractitionerRole/knee-too", Between.SAME_DEPARTMENT),
        ("PractitionerRole/knee", "HealthcareService/x-ray", Between.UNCLEAR),
        ("HealthcareService/x-ray", "HealthcareService/x-ray", Between.SAME_DEPARTMENT),
        ("Location/a", "Location/b", Between.DIFFERENT_DEPARTMENTS),
        ("Practitioner/a", "Practitioner/a", Between.SAME_PERSON),
        ("Practitioner/a", "Practitioner/b", Between.UNCLEAR),
        ("PractitionerRole/gp", "PractitionerRole/eva-at-clinic", Between.SAME_PERSON),
    ],
)
def test_two_parties_are_compared_by_what_is_finest(one: str, other: str, what: Between) -> None:
    request = compose(order(requester=one, performer=other), [], around=AROUND).request
    assert request.between == what


def test_a_single_other_department_among_those_asked_makes_a_referral() -> None:
    request = order(requester=GP, performer=[by(GP), by(CLINIC)])
    assert compose(request, [], around=AROUND).request.between == Between.DIFFERENT_DEPARTMENTS
    assert between(Side(("Practitioner/a",)), [], {}) is Between.PERFORMER_UNKNOWN


def test_a_contained_party_is_what_it_says_of_itself_and_not_its_local_id() -> None:
    """`#1` of one order and `#1` of another are two."""
    contained = [
        {"resourceType": "Organization", "id": "1", "name": " Heart  clinic "},
        {"resourceType": "Organization", "id": "2", "identifier": [{"system": "urn:o", "value": "7"}]},
        {"resourceType": "Practitioner", "id": "3", "name": [{"given": ["Eva"], "family": "Lind"}]},
        {"resourceType": "PractitionerRole", "id": "4", "practitioner": by("Practitioner/eva")},
    ]
    performer = [by("#1"), by("#2"), by("#3"), by("#4"), by("#nobody")]
    request = compose(order(contained=contained, performer=performer), []).request
    assert request.departments == ("|Heart clinic", "urn:o|7", "|Eva Lind", "Practitioner/eva")


# -- the table -----------------------------------------------------------------------------------------------


def ours(folder: Path, text: str) -> policies.Policy:
    file = folder / "ours.toml"
    head = 'name = "ours"\nextends = "default"\nversion = "1"\nvalid_from = 2026-01-01\nsource = "us"\n'
    file.write_text(head + text)
    return policies.load.__wrapped__(str(file))


def test_a_site_s_own_rows_come_first(tmp_path: Path) -> None:
    policy = ours(tmp_path, '[[scope]]\nscope = "out"\ncodes = ["urn:c|parcel"]\nreason = "a food parcel"\n')
    parcel = {"coding": [{"system": "urn:c", "code": "parcel"}]}
    found = standing(order(requester=GP, performer=CLINIC, code=parcel), policy=policy)
    assert (found.scope, found.in_scope) == ("out", "a food parcel")
    assert standing(order(requester=GP, performer=CLINIC), policy=policy).scope == "referral"
    assert policy.fingerprint != POLICY.fingerprint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[scope]]\nscope = "maybe"\nreason = "x"\n', "maybe"),
        ('[[scope]]\nscope = "out"\nparties = ["me"]\nreason = "x"\n', "'me'"),
        ('[[scope]]\nscope = "out"\nasked = "yes"\nreason = "x"\n', "true or false"),
        ('[[scope]]\nscope = "out"\nsays = ["meal"]\nreason = "x"\n', "'meal' is not one of"),
        ('[[scope]]\nscope = "out"\nwhy = "x"\n', "unknown key 'why'"),
        ('[[scope]]\nscope = "out"\n', "reason"),
        ("[orders]\njump = 20\n", "orders.jump = 20"),
        ('[duplicate]\nwindow = "200 d"\n', "up to 92"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_what_to_write(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        ours(tmp_path, text)

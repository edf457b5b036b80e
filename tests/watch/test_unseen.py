"""A record of a referral that cannot be read is not taken for absent: what it may prove is not denied.

Each case is the base of `cases.py` with a few resources beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.store import Store
from tests.watch.cases import MARCH, Json, Watch, at, looking, order, report, resource, rules, task, told

MODIFIED: Json = {"modifierExtension": [{"url": "urn:unknown", "valueBoolean": True}]}


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield looking(opened)


def appointment(**says: Any) -> Json:
    return resource(
        "Appointment/a",
        **{
            "status": "booked",
            "created": MARCH.format(6),
            "start": "2026-05-06T09:00:00Z",
            "end": "2026-05-06T10:00:00Z",
            "basedOn": [at("ServiceRequest/s")],
            "participant": [{"actor": at("Patient/p"), "status": "accepted"}],
        }
        | says,
    )


def encounter(**says: Any) -> Json:
    return resource(
        "Encounter/e",
        **{
            "status": "in-progress",
            "class": {"code": "AMB"},
            "subject": at("Patient/p"),
            "basedOn": [at("ServiceRequest/s")],
            "period": {"start": MARCH.format(9)},
        }
        | says,
    )


def test_the_base_of_these_cases_claims_what_they_must_not(watch: Watch) -> None:
    assert rules(watch(order(), told())) == ["not-sent"]
    assert rules(watch(order(), task(), told())) == ["unscheduled"]


@pytest.mark.parametrize(
    "record",
    [
        appointment(**MODIFIED),
        appointment(status=["booked"]),
        encounter(**MODIFIED),
        encounter(status="been there"),
        report("r", "ServiceRequest/s", status="finished"),
    ],
    ids=["booking turned around", "booking unreadable", "visit turned around", "no status of R4", "result"],
)
def test_what_proves_more_than_the_missing_step_is_not_denied_for_being_unreadable(
    watch: Watch, record: Json
) -> None:
    standing = watch(order(), record, told())
    assert (rules(standing), standing.not_observable) == ([], (record["resourceType"],))


@pytest.mark.parametrize("status", ["been there", ["finished"], None])
def test_nobody_is_blamed_for_no_booking_while_a_visit_cannot_be_read(watch: Watch, status: Any) -> None:
    visit = encounter(status=status)
    if status is None:
        del visit["status"]
    standing = watch(order(), task(), visit, told())
    assert (rules(standing), standing.not_observable) == ([], ("Encounter",))


def test_a_message_with_a_status_that_is_none_may_have_told_the_patient(watch: Watch) -> None:
    answered = [
        order(),
        task(status="completed", lastModified=MARCH.format(20)),
        encounter(status="finished"),
    ]
    answered.append(report("r", "ServiceRequest/s", issued=MARCH.format(20)))
    assert "patient-not-informed" in rules(watch(*answered))
    standing = watch(*answered, told(status="sent"))
    assert "patient-not-informed" not in rules(standing)
    assert "Communication" in standing.not_observable


def test_the_record_of_another_referral_of_the_patient_hides_nothing_here(watch: Watch) -> None:
    other = order("s2", code={"text": "something else"})
    lost = encounter(status="been there", basedOn=[at("ServiceRequest/s2")])
    assert rules(watch(order(), task(), other, lost, told())) == ["unscheduled"]


def test_a_day_that_no_calendar_has_is_a_time_that_cannot_be_read(watch: Watch) -> None:
    """It was sent, nobody knows when."""
    accepted = [order(), task(), appointment()]
    assert "patient-not-informed" in rules(watch(*accepted))
    assert rules(watch(*accepted, told(sent="2026-02-30"))) == []


def test_of_a_referral_that_names_no_patient_nobody_says_that_the_patient_was_not_told(watch: Watch) -> None:
    nobody = {key: value for key, value in order().items() if key != "subject"}
    assert rules(watch(nobody, task(), told())) == ["unscheduled"]


def test_a_priority_that_cannot_be_read_hides_nothing_since_it_could_only_bring_deadlines_forward(
    watch: Watch,
) -> None:
    assert rules(watch(order(priority=["urgent"]), task(), told())) == ["unscheduled"]

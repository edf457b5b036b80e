"""What is silent for too long: what may still be waited for, and nothing that is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from fhir_coprod.watch import assess
from fhir_coprod.watch.record.model import Blind, Facts, Request, RequestState, Task, TaskState
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.standing import Standing

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = policies.load("default")
NOBODY_RECORDS_WORDS = (("told", "absent"),)


def referral(status: str, *tasks: str, between: str = "different-departments") -> Facts:
    """A referral whose ServiceRequest got this status on the fifth day, and its Task each day another one."""
    states = (RequestState(MONDAY, "active"), RequestState(MONDAY + 5 * DAY, status))
    request = Request(
        *("ServiceRequest/r", "Patient/p", states if status != "active" else states[:1], MONDAY),
        requesters=("Organization/gp",),
        departments=("Organization/ortho",),
        between=between,
    )
    course = tuple(
        TaskState(MONDAY + day * DAY, one, owner="Organization/ortho", departments=("Organization/ortho",))
        for day, one in enumerate(tasks)
    )
    return Facts(request, (Task("Task/t", course),) if tasks else (), practice=NOBODY_RECORDS_WORDS)


def after_200_days(facts: Facts) -> Standing:
    return assess(facts, POLICY, MONDAY + 200 * DAY)


def is_silent(facts: Facts) -> bool:
    return "silent-too-long" in {stall.rule for stall in after_200_days(facts).counted}


@pytest.mark.parametrize(
    "facts",
    [
        referral("revoked", "requested", "accepted", "cancelled"),
        referral("completed", "requested", "accepted", "completed"),
        referral("revoked", between="performer-unknown"),
    ],
    ids=["revoked", "completed", "of unclear scope"],
)
def test_a_referral_that_is_over_is_not_silent_for_want_of_a_word_to_the_patient(facts: Facts) -> None:
    assert not after_200_days(facts).stalls
    assert not is_silent(facts)


def test_one_that_is_still_active_is_silent_in_the_end() -> None:
    assert is_silent(referral("active", between="performer-unknown"))


def test_one_that_ended_on_one_side_only_is_silent_if_the_other_side_cannot_be_seen() -> None:
    facts = referral("revoked", "requested", "accepted")
    assert [stall.rule for stall in after_200_days(facts).stalls] == ["half-closed"]
    unseen = Blind("Task", "ortho", ("Organization/ortho",), MONDAY, down=True)
    assert is_silent(msgspec.structs.replace(facts, blind=(unseen,)))

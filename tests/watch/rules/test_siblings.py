"""When one referral of a patient answers, replaces or repeats another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_coprod.watch.record.model import Request, RequestState, Sibling
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.siblings import answers, is_twin, replaces

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
NOW = MONDAY + 40 * DAY
POLICY = policies.load("default")


def request(**own: Any) -> Request:
    at = own.pop("authored", MONDAY)
    basic: dict[str, Any] = {
        "id": "ServiceRequest/r",
        "patient": "Patient/p",
        "authored": at,
        "states": (RequestState(at, "active"),),
        "codes": ("knee",),
    }
    return Request(**basic | own)


def sibling(*, at: datetime = MONDAY - DAY, status: str = "active", **own: Any) -> Sibling:
    basic: dict[str, Any] = {
        "id": "ServiceRequest/s",
        "authored": at,
        "states": (RequestState(at, status),),
        "codes": ("knee",),
        "departments": ("Organization/ortho",),
    }
    return Sibling(**basic | own)


LATER = {"at": MONDAY + DAY}
OTHER = {"codes": ("hip",)}
LINKED = {"based_on": ("ServiceRequest/r",)}


@pytest.mark.parametrize(
    ("answer", "own", "asked"),
    [
        (True, LATER, {}),
        (True, {"at": MONDAY}, {}),
        (False, {"at": MONDAY - timedelta(microseconds=1)}, {}),
        (False, LATER | OTHER, {}),
        (True, LATER | {"codes": ("hip", "knee")}, {}),
        (False, LATER | {"codes": ()}, {"codes": ()}),
        (True, OTHER | LINKED, {}),
        (True, OTHER | {"replaces": ("ServiceRequest/r",)}, {}),
        (False, OTHER | {"based_on": ("ServiceRequest/x",)}, {}),
        (True, OTHER | {"requisition": "1"}, {"requisition": "1"}),
        (False, OTHER | {"requisition": "2"}, {"requisition": "1"}),
        (False, OTHER | {"requisition": ""}, {"requisition": ""}),
        (False, LATER | {"by_patient": True}, {}),
        (False, LATER | {"status": "draft"}, {}),
        (False, LATER | {"status": "entered-in-error"}, {}),
        (True, LATER | {"status": "revoked"}, {}),
        (True, {"at": NOW}, {}),
        (False, LINKED | {"at": NOW + timedelta(microseconds=1)}, {}),
    ],
)
def test_an_answer_is_linked_to_the_request_or_later_and_for_the_same(
    answer: bool, own: dict[str, Any], asked: dict[str, Any]
) -> None:
    assert answers(sibling(**own), request(**asked), NOW) is answer


@pytest.mark.parametrize(
    ("replaced", "own"),
    [
        (True, {"replaces": ("ServiceRequest/r",)}),
        (False, {"replaces": ("ServiceRequest/x",)}),
        (False, LINKED),
        (False, {"replaces": ("ServiceRequest/r",), "status": "draft"}),
        (False, {"replaces": ("ServiceRequest/r",), "by_patient": True}),
        (False, {"replaces": ("ServiceRequest/r",), "at": NOW + DAY}),
    ],
)
def test_a_replacement_says_so_and_is_a_referral(replaced: bool, own: dict[str, Any]) -> None:
    assert replaces(sibling(**own), request(), NOW) is replaced


@pytest.mark.parametrize(
    ("twin", "own", "asked"),
    [
        (True, {}, {}),
        (True, {"at": MONDAY}, {"id": "ServiceRequest/t"}),
        (False, {"at": MONDAY}, {}),  # of two of one moment, the one with the smaller id is the older
        (False, {"at": MONDAY}, {"id": "ServiceRequest/s"}),
        (False, LATER, {}),
        (False, {"by_patient": True}, {}),
        (False, OTHER, {}),
        (False, {"codes": ()}, {"codes": ()}),
        (False, {"departments": ("Organization/neuro",)}, {}),
        (False, {"departments": ()}, {}),
        (True, {"departments": ("Organization/neuro", "Organization/ortho")}, {}),
        (False, {"status": "completed"}, {}),
        (False, {"status": "on-hold"}, {}),
        (True, {"status": "unknown"}, {}),
        (False, {}, {"replaces": ("ServiceRequest/s",)}),
        (False, {}, {"based_on": ("ServiceRequest/s",)}),
        (True, {}, {"based_on": ("ServiceRequest/x",)}),
        (False, LINKED, {}),
        (False, {"replaces": ("ServiceRequest/r",)}, {}),
        (False, {"requisition": "1"}, {"requisition": "1"}),
        (True, {"requisition": "1"}, {"requisition": "2"}),
        (True, {"requisition": ""}, {"requisition": ""}),
        (True, {"at": MONDAY - 30 * DAY}, {}),
        (True, {"at": (MONDAY - 30 * DAY).replace(hour=0)}, {}),
        (False, {"at": MONDAY - 31 * DAY}, {}),
        (False, {"at": (MONDAY - 31 * DAY).replace(hour=23)}, {}),
    ],
)
def test_a_twin_is_older_active_unlinked_and_for_the_same_at_the_same_department(
    twin: bool, own: dict[str, Any], asked: dict[str, Any]
) -> None:
    found = is_twin(sibling(**own), request(**asked), {"Organization/ortho"}, POLICY, NOW)
    assert found is twin


def test_what_is_written_after_the_moment_asked_for_is_no_twin() -> None:
    ahead = request(authored=NOW + 2 * DAY)
    for at, twin in ((NOW, True), (NOW + DAY, False)):
        assert is_twin(sibling(at=at), ahead, {"Organization/ortho"}, POLICY, NOW) is twin

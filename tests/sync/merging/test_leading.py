"""Which record of several leads, by each rule and where the next one takes over."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.sync.merging.leading import ordered
from fhir_coprod.sync.merging.sources import Context, Source, Targets
from fhir_coprod.sync.staging.references import Bases, Holder, Record

CARE, ORTHO = Record("care", "Organization", "gp"), Record("ortho", "Organization", "or")
CONTEXT = Context(
    Bases(
        {"care": "https://care.example", "ortho": "https://ortho.example", "neuro": "https://neuro.example"}
    ),
    ("care", "ortho"),
    {"care": CARE, "ortho": ORTHO},
)
DOCTOR = Record("care", "PractitionerRole", "dr")
TARGETS = Targets(
    {CARE: "1", ORTHO: "2", Record("care", "Organization", "as-or"): "2", DOCTOR: "9"},
    {Holder("Organization", "urn:org|OR"): "Organization/2", Holder("", "urn:org|GP"): "Organization/1"},
    {DOCTOR: frozenset({"1"})},
)


def source(ehr: str, type: str = "Task", id: str = "x", updated: str = "", **content: Any) -> Source:
    data = {"resourceType": type, "id": id, **content}
    return Source(Record(ehr, type, id), jsontext.encode(data), data, updated)


def first(*sources: Source) -> str:
    """The EHR whose record leads; the same whatever the order of arrival."""
    type = sources[0].record.type
    found = ordered(type, sources, TARGETS, CONTEXT)
    assert sorted(s.record for s in found) == sorted(s.record for s in sources)
    assert ordered(type, sources[::-1], TARGETS, CONTEXT) == found
    return found[0].record.ehr


def party(reference: str) -> dict[str, str]:
    return {"reference": reference}


@pytest.mark.parametrize(
    "owner",
    [
        party("Organization/or"),
        party("https://ortho.example/Organization/or"),
        {"type": "Organization", "identifier": {"system": "urn:org", "value": "OR"}},
    ],
)
def test_the_record_of_the_department_that_owns_a_task_leads_however_it_is_named(owner: Any) -> None:
    assert first(source("care"), source("ortho", owner=owner)) == "ortho"


@pytest.mark.parametrize(
    "owner",
    [
        None,
        "Organization/or",
        {"display": "Orthopaedics"},
        party("Organization/another"),
        party("#or"),
        party("https://care.example/Organization/gp"),
        {"identifier": {"system": "urn:org", "value": "OR"}},
        {"type": "Organization", "identifier": {"system": "urn:org", "value": "?"}},
    ],
)
def test_who_does_not_name_its_own_department_owns_nothing(owner: Any) -> None:
    assert first(source("care"), source("ortho", owner=owner)) == "care"


def test_a_department_is_known_by_our_resource_and_not_by_its_number_there() -> None:
    own = source("care", owner=party("Organization/as-or"))
    assert first(own, source("neuro", updated="2026-01-01")) == "neuro", "it is another department's"


def test_an_order_is_led_by_whoever_requested_it_also_through_a_role() -> None:
    asked = source("care", "ServiceRequest", requester=party("PractitionerRole/dr"))
    assert first(source("ortho", "ServiceRequest", performer=[]), asked) == "care"
    copy = source("ortho", "ServiceRequest", requester=party("https://care.example/PractitionerRole/dr"))
    assert first(source("care", "ServiceRequest"), copy) == "care", "it is not ortho that requested it"


def test_the_department_that_received_an_order_holds_a_copy() -> None:
    performers = [{"display": "somebody"}, None, party("Organization/gp")]
    received = source("care", "ServiceRequest", performer=performers)
    assert first(received, source("ortho", "ServiceRequest")) == "ortho"
    asked_itself = source("care", "ServiceRequest", performer=performers, requester=party("Organization/gp"))
    assert first(asked_itself, source("ortho", "ServiceRequest")) == "care"


def test_a_receiver_counts_for_orders_only() -> None:
    assert first(source("care", performer=[party("Organization/gp")]), source("ortho")) == "care"


@pytest.mark.parametrize("given_up", [{"active": False}, {"link": [{"type": "replaced-by"}]}])
def test_a_record_given_up_leads_only_where_no_other_is_in_use(given_up: dict[str, Any]) -> None:
    assert first(source("care", "Patient", **given_up), source("ortho", "Patient")) == "ortho"
    assert first(source("care", "Patient", **given_up), source("ortho", "Patient", active=False)) == "care"


@pytest.mark.parametrize(
    "in_use",
    [
        {"active": True},
        {"active": None},
        {"link": [{"type": "replaces"}, "odd"]},
        {"link": {"type": "replaced-by"}},
    ],
)
def test_no_other_word_gives_a_record_up(in_use: dict[str, Any]) -> None:
    assert first(source("care", "Patient", **in_use), source("ortho", "Patient")) == "care"


def test_who_owns_a_task_that_is_given_up_does_not_lead() -> None:
    given_up = source("ortho", active=False, owner=party("Organization/or"))
    assert ordered("Task", [given_up, source("care")], TARGETS, CONTEXT)[0].record.ehr == "care"


def test_of_a_task_that_nobody_owns_the_latest_word_leads() -> None:
    at_ten = source("care", lastModified="2026-01-01T10:00:00Z")
    assert first(at_ten, source("ortho", lastModified="2026-01-01T10:00:01+00:00")) == "ortho"
    assert first(at_ten, source("ortho", lastModified="2026-01-01T11:30:00+02:00")) == "care"
    assert first(at_ten, source("ortho", lastModified="2026-01-01T10:00:00Z")) == "care"


def test_without_last_modified_the_stamp_of_the_ehr_is_its_latest_word() -> None:
    stamped = source("ortho", updated="2026-01-02T00:00:00.000000Z")
    assert first(source("care", lastModified="2026-01-01T10:00:00Z"), stamped) == "ortho"
    assert first(source("care", lastModified="2026-01-03T10:00:00Z"), stamped) == "care"


def test_the_owner_of_a_task_leads_over_a_later_word() -> None:
    owner = source("ortho", owner=party("Organization/or"), lastModified="2026-01-01T10:00:00Z")
    assert first(owner, source("care", lastModified="2026-02-01T10:00:00Z")) == "ortho"


@pytest.mark.parametrize("type", ["Patient", "ServiceRequest", "Organization"])
def test_the_latest_word_counts_for_tasks_only(type: str) -> None:
    assert (
        first(source("care", type, updated="2026-01-01"), source("ortho", type, updated="2026-02-01"))
        == "care"
    )


def test_without_any_other_rule_the_order_of_the_settings_decides_and_then_the_name() -> None:
    assert first(source("ortho", "Patient"), source("care", "Patient")) == "care"
    unlisted = [source("an", "Patient"), source("neuro", "Patient")]
    assert [s.record.ehr for s in ordered("Patient", unlisted, TARGETS, CONTEXT)] == ["an", "neuro"]
    assert first(source("an", "Patient"), source("ortho", "Patient")) == "ortho"
    of_one = [source("care", "Patient", "b"), source("care", "Patient", "a")]
    assert [s.record.id for s in ordered("Patient", of_one, TARGETS, CONTEXT)] == ["a", "b"]


def test_one_record_alone_leads_whatever_it_says() -> None:
    alone = source("care", "Observation", active=False)
    assert ordered("Observation", [alone], TARGETS, CONTEXT) == [alone]

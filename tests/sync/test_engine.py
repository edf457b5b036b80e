"""A run over several EHRs: whom it asks, what it says of each, and what a dry run leaves alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.errors import ConfigError, EhrAnswer
from fhir_coprod.outcome import OK
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import engine
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.merging.publish import View
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.settle import ORDER, Settling
from fhir_coprod.sync.staging.feed import feeds
from fhir_coprod.sync.staging.identity import ORDERS
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import Counts
from fhir_coprod.watched import PULLED
from tests.sync.departments import QUICK
from tests.sync.records import Json, organization, patient, referral, task
from tests.sync.story import goes, ids, shown
from tests.sync.test_arrival import CONTEXT, put

TYPES = ("Patient", "Organization")


def ehr(name: str, department: str = "", types: tuple[str, ...] = TYPES) -> EhrSettings:
    url = f"https://{name}.example/fhir/"
    return EhrSettings(name=name, url=url, department=department, types=types, requests_per_second=1000)


def serves(name: str, *resources: Json, types: tuple[str, ...] = TYPES) -> None:
    """An EHR that lists these resources."""
    offers = [{"type": type, "interaction": [{"code": "search-type"}]} for type in types]
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "resource": offers}],
    }
    respx.get(f"https://{name}.example/fhir/metadata").respond(json=statement)
    for type in types:
        entries = [{"resource": r} for r in resources if r["resourceType"] == type]
        bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        respx.get(f"https://{name}.example/fhir/{type}").respond(json=bundle)


def ran(store: Store, *ehrs: EhrSettings, **more: Any) -> list[EhrReport]:
    return run(store, Settings(ehr=ehrs), politeness=QUICK, validate=lambda document: OK, **more)


def feeds_of(store: Store) -> dict[tuple[str, str], str]:
    with store.connect() as connection:
        return {(row.ehr, row.type): row.state for row in feeds(connection)}


# --- whom it asks ---------------------------------------------------------------------------------


@respx.mock
def test_only_the_ehrs_named_are_asked_and_told_in_the_order_of_the_settings(store: Store) -> None:
    for name in ("z", "a", "m"):
        serves(name, patient("p"))
    all = (ehr("z"), ehr("a"), ehr("m"))
    assert [report.ehr for report in ran(store, *all, names=["m", "z"])] == ["z", "m"]
    assert {name for name, _ in feeds_of(store)} == {"z", "m"}
    assert [report.ehr for report in ran(store, *all)] == ["z", "a", "m"]
    ran(store, *all, names=["a"])
    assert {name for name, _ in feeds_of(store)} == {"z", "a", "m"}, "the others are only not asked now"
    ran(store, *all[:2])
    assert {name for name, _ in feeds_of(store)} == {"z", "a"}


def test_an_unknown_name_stops_all_before_anybody_is_asked(store: Store) -> None:
    with pytest.raises(ConfigError) as caught:
        ran(store, ehr("care"), ehr("ortho"), names=["care", "cara"])
    assert caught.value.message == "There is no EHR named 'cara'; known: care, ortho."
    assert feeds_of(store) == {}


# --- what it says ---------------------------------------------------------------------------------


@respx.mock
def test_an_ehr_that_does_not_say_what_it_can_do_has_an_error_and_failed_feeds(store: Store) -> None:
    serves("care", patient("p"))
    respx.get("https://odd.example/fhir/metadata").respond(404)
    odd, care = ran(store, ehr("odd"), ehr("care"))
    assert odd.error == (
        "odd: the server answered 404 at https://odd.example/fhir/metadata. "
        "Is https://odd.example/fhir/ the FHIR base address?"
    )
    assert (odd.counts, odd.faults, odd.ok) == ({}, {}, False)
    assert care.ok
    states = {state for (name, _), state in feeds_of(store).items() if name == "odd"}
    assert states == {"failed"}
    assert {type for name, type in feeds_of(store) if name == "odd"} == set(TYPES)


@respx.mock
def test_without_types_in_the_settings_every_pulled_type_fails_with_its_ehr(store: Store) -> None:
    respx.get("https://odd.example/fhir/metadata").mock(side_effect=httpx.ConnectError("refused"))
    ran(store, ehr("odd", types=()))
    assert {type for _, type in feeds_of(store)} == set(PULLED)


@respx.mock
def test_every_type_that_can_be_seen_is_counted_though_nothing_of_it_came(store: Store) -> None:
    serves("care", patient("p"))
    (report,) = ran(store, ehr("care", types=(*TYPES, "Task")))
    assert report.counts == {"Patient": Counts(read=1, created=1), "Organization": Counts()}


@respx.mock
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_department_is_looked_for_where_its_organizations_were_read(store: Store, dry_run: bool) -> None:
    serves("care", organization("gp"))
    serves("ortho", patient("p"), types=("Patient",))
    serves("neuro", organization("other"))
    respx.get("https://away.example/fhir/metadata").respond(404)
    reports = ran(
        store,
        ehr("care", "Organization/gp"),
        ehr("ortho", "Organization/or"),
        ehr("neuro", "Organization/ne"),
        ehr("away", "Organization/aw"),
        dry_run=dry_run,
    )
    said = "the department Organization/ne of the settings is not at this server; correct it"
    expected: list[dict[str, str]] = [{}, {}, {} if dry_run else {"Organization": said}, {}]
    assert [report.faults for report in reports] == expected


@respx.mock
def test_a_dry_run_says_what_a_run_would_and_keeps_nothing(store: Store) -> None:
    serves("care", patient("p", "1"), organization("gp", "O"))
    serves("ortho", patient("q"), patient("q2", "1"), organization("or", "O", name="Other"))
    both = ehr("care"), ehr("ortho")
    dry = ran(store, *both, dry_run=True)
    assert store.head() == 0
    assert feeds_of(store) == {}
    wet = ran(store, *both)
    assert [report.counts for report in dry] == [report.counts for report in wet]
    assert dry[1].counts["Patient"] == Counts(read=2, created=2, merged=1)
    assert dry[0].counts["Organization"] == Counts(read=1, created=1, merged=1)
    made = sorted(change.resource.partition("/")[0] for report in dry for change in report.changes)
    assert made == ["Organization", "Patient", "Patient"]
    assert not any(report.changes for report in wet)


@respx.mock
def test_check_says_how_each_type_is_read_or_why_it_cannot_be() -> None:
    serves("care")
    made = check(ehr("care"), politeness=QUICK)
    assert [(row.type, row.find) for row in made.types] == [("Patient", "crawl"), ("Organization", "crawl")]
    respx.get("https://odd.example/fhir/metadata").respond(json={"resourceType": "Patient"})
    with pytest.raises(EhrAnswer, match="no CapabilityStatement"):
        check(ehr("odd"), politeness=QUICK)


def test_the_settings_say_where_records_come_from_and_whose_they_are() -> None:
    context = engine.context_of(Settings(ehr=(ehr("care", "Organization/gp"), ehr("ortho"))))
    assert context.bases.addresses == {
        "care": "https://care.example/fhir",
        "ortho": "https://ortho.example/fhir",
    }
    assert context.order == ("care", "ortho")
    assert context.departments == {"care": Record("care", "Organization", "gp")}


# --- from records to resources --------------------------------------------------------------------


def test_things_are_linked_before_people_and_orders_last() -> None:
    assert sorted(ORDER) == sorted({*ORDER, *PULLED})
    assert ORDER[:6] == (
        "HealthcareService",
        "Location",
        "Organization",
        "Practitioner",
        "PractitionerRole",
        "Patient",
    )
    assert ORDER[-2:] == ("ServiceRequest", "Task")


def test_a_type_that_nobody_pulls_is_written_all_the_same(store: Store) -> None:
    observation = {"resourceType": "Observation", "id": "o", "subject": {"reference": "Patient/p"}}
    put(store, ("care", observation), ("care", patient("p")))
    engine.settle(store, CONTEXT, lambda document: OK, lambda: None)
    own = ids(store, "Patient")["care/p"]
    assert shown(store, "Observation", "care/o")["subject"] == {"reference": f"Patient/{own}"}


@contextmanager
def look(store: Store) -> Iterator[View]:
    with store.connect() as connection:
        yield View(connection, store.newest)


def test_orders_are_linked_again_only_when_a_patient_or_a_performer_has_come_or_changed(store: Store) -> None:
    """Each step holds the store, so none is taken for nothing."""

    def steps(resource: Json) -> int:
        beats: list[int] = []
        put(store, ("care", resource))
        settling = Settling(CONTEXT, lambda document: OK)
        settling.in_steps(store.write, lambda: look(store), lambda: beats.append(1))
        return len(beats)

    other = steps({"resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"}})
    assert steps(organization("gp")) == other + len(ORDERS)
    assert steps(patient("p")) == other + len(ORDERS) + 1, "what a number is worth is decided once"


@pytest.mark.parametrize("keep", [False, True])
def test_changes_are_handed_out_only_when_they_are_asked_for(store: Store, keep: bool) -> None:
    def steps() -> list[tuple[str, str, Json]]:
        beats: list[int] = []
        settling = Settling(CONTEXT, lambda document: OK, keep=keep)

        done = settling.in_steps(store.write, lambda: look(store), lambda: beats.append(1))
        assert beats, "after each step there is a sign of life"
        return [(c.ehr, c.written.change, c.before) for c in done.changes]

    put(store, ("care", task("t", "Patient/p", "Task/x")), ("care", referral("s", "Patient/p")))
    assert steps() == ([("care", "created", {}), ("care", "created", {})] if keep else [])
    put(store, ("care", task("t", "Patient/p", "Task/x", "accepted")))
    updated = steps()
    goes(store, "care", "Task/t")
    deleted = steps()
    if keep:
        assert [(e, change, before["status"]) for e, change, before in updated + deleted] == [
            ("care", "updated", "requested"),
            ("care", "deleted", "accepted"),
        ]
    else:
        assert updated == deleted == []

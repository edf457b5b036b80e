"""Whole runs against servers that speak real HTTP: what comes in, changes and goes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError, Conflict, EhrUnreachable, Gone
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import alone
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.reading.shared import Progress
from fhir_coprod.sync.staging.feed import feeds
from fhir_coprod.sync.staging.stage import Counts, holdings
from tests.sync.conftest import settings_for
from tests.sync.departments import HABITS, QUICK, a_department, every, feed, one, synced
from tests.sync.records import patient, referral, task
from tests.sync.server import Ehr, serving


@pytest.mark.parametrize("habits", HABITS)
def test_what_is_there_comes_in_and_a_second_run_changes_nothing(
    store: Store, habits: dict[str, Any]
) -> None:
    ehr = a_department(**habits)
    with serving(ehr):
        first = synced(store, care=ehr)["care"]
        assert first.ok
        assert first.counts["Organization"] == Counts(read=2, created=2)
        assert first.counts["Task"] == Counts(read=1, created=1)
        head = store.head()
        assert head == len(ehr.resources)
        second = synced(store, care=ehr)["care"]
        third = synced(store, full=True, care=ehr)["care"]
    assert store.head() == head
    assert second.ok
    assert third.counts["Organization"] == Counts(read=2, unchanged=2)


@pytest.mark.parametrize("habits", HABITS)
def test_a_change_a_new_record_and_a_deletion_arrive(store: Store, habits: dict[str, Any]) -> None:
    ehr = a_department(**habits)
    with serving(ehr):
        synced(store, care=ehr)
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        ehr.put(task("u", "Patient/p", "ServiceRequest/s"))
        report = synced(store, care=ehr)["care"].counts["Task"]
        assert (report.created, report.updated) == (1, 1)
        changed = one(store, "Task", status="accepted")
        assert changed.version == 2
        ehr.delete("Task/u")
        deleted = synced(store, full=True, care=ehr)["care"].counts["Task"]
    assert deleted.deleted == 1
    assert len(every(store, "Task")) == 1


def test_history_shows_deletions_without_a_full_run(store: Store) -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        synced(store, care=ehr)
        ehr.delete("Task/t")
        report = synced(store, care=ehr)["care"]
    assert report.counts["Task"].deleted == 1
    assert report.counts["Task"].updated == 0
    assert not every(store, "Task")


def test_a_record_deleted_and_made_again_lives(store: Store) -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        synced(store, care=ehr)
        old = ehr.resources["Task/t"]
        ehr.delete("Task/t")
        ehr.put({**old, "status": "accepted"})
        synced(store, care=ehr)
    assert one(store, "Task").data["status"] == "accepted"


def test_an_incremental_run_reads_only_what_is_new(store: Store) -> None:
    ehr = Ehr(last_updated=True).load(*(patient(str(n), str(n)) for n in range(120)))
    with serving(ehr):
        synced(store, care=ehr)
        ehr.requests.clear()
        ehr.put(patient("7", "7", gender="female"))
        report = synced(store, care=ehr)["care"].counts["Patient"]
    assert report.read < 5
    assert report.updated == 1
    assert any(request.startswith("Patient?_lastUpdated=ge2026-03-02T03%3A5") for request in ehr.requests)


@pytest.mark.parametrize("style", ["absolute", "relative", "rooted", "http://internal:8080"])
def test_all_pages_are_read_however_the_server_links_them(store: Store, style: str) -> None:
    ehr = Ehr(page_size=7, next_style=style).load(*(patient(str(n), str(n)) for n in range(30)))
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
    assert report.counts["Patient"].created == 30


def test_references_lead_to_our_resources_and_received_bytes_are_kept(store: Store) -> None:
    ehr = a_department()
    raw = (
        '{"resourceType":"Task", "id":"raw","status":"requested","intent":"order",'
        '"for":{"reference":"Patient/p"},"restriction":{"repetitions":  3}}'
    )
    ehr.put(json.loads(raw))
    ehr.broken["Task/raw"] = raw.encode()
    with serving(ehr):
        synced(store, care=ehr)
    own = one(store, "Patient").id
    found = next(v for v in every(store, "Task") if "restriction" in v.data)
    assert f'"for":{{"reference":"Patient/{own}"}}' in found.body.decode()
    assert '"repetitions":  3' in found.body.decode()
    assert store.received("Task", found.id, 1) == raw.encode()
    assert found.data["meta"]["source"] == f"{ehr.url}/Task/raw"
    assert found.source == "ehr:care"


def test_a_reference_to_what_has_not_arrived_waits(store: Store) -> None:
    ehr = Ehr().load(task("t", "Patient/late", "ServiceRequest/never"))
    with serving(ehr):
        synced(store, care=ehr)
        assert one(store, "Task").data["for"] == {"reference": f"{ehr.url}/Patient/late"}
        ehr.put(patient("late"))
        synced(store, care=ehr)
    found = one(store, "Task")
    assert found.data["for"] == {"reference": one(store, "Patient").reference}
    assert found.data["focus"] == {"reference": f"{ehr.url}/ServiceRequest/never"}
    assert found.version == 2


def test_a_dry_run_shows_what_a_run_then_does_and_writes_nothing(store: Store) -> None:
    care, ortho = (
        a_department(last_updated=True),
        Ehr(history=True).load(patient("900"), patient("901", "19700102")),
    )
    with serving(care, ortho):
        chosen = settings_for(care=care, ortho=ortho)

        def shown() -> list[tuple[str, str]]:
            reports = run(store, chosen, dry_run=True)
            return sorted((c.change, c.resource) for report in reports for c in report.changes)

        def done(after: int) -> list[tuple[str, str]]:
            words = {"create": "created", "update": "updated", "delete": "deleted"}
            versions = store.changes(after)
            return sorted(("created" if v.version == 1 else words[v.method], v.reference) for v in versions)

        would = shown()
        assert store.head() == 0
        with store.connect() as connection:
            assert not feeds(connection)
            assert not holdings(connection)
        run(store, chosen)
        assert would == done(0)

        care.put({**care.resources["Task/t"], "status": "accepted"})
        ortho.delete("Patient/900")
        head = store.head()
        would = shown()
        reports = run(store, chosen, dry_run=True)
        line = next(c for c in reports[0].changes if c.resource.startswith("Task/")).lines
        assert [(x.path, x.before, x.after) for x in line] == [("status", "requested", "accepted")]
        run(store, chosen)
        assert would == done(head)
        assert len(would) >= 2


def test_patients_of_a_server_that_lists_none_are_named_in_the_settings(store: Store) -> None:
    ehr = a_department(software="Epic", types=("Patient", "ServiceRequest", "Organization"))
    with serving(ehr):
        named = EhrSettings(name="care", url=ehr.url, types=("Patient", "ServiceRequest", "Organization"))
        nobody = run(store, Settings(ehr=(named,)))[0]
        assert "patients" in nobody.faults["Patient"]
        assert "not all patients" in nobody.faults["ServiceRequest"]
        chosen = Settings(ehr=(named.model_copy(update={"patients": ("p",)}),))
        report = run(store, chosen)[0]
        assert report.ok
        assert report.counts["Organization"].created == 1  # only the one that something refers to
        ehr.delete("ServiceRequest/s")
        gone = run(store, chosen, full=True)[0]
    assert "ServiceRequest?patient=p&_count=100" in ehr.requests
    assert gone.counts["ServiceRequest"].deleted == 1


@pytest.mark.parametrize("by_id", [False, True])
def test_what_is_read_by_reference_is_read_anew_each_time(store: Store, by_id: bool) -> None:
    types = ("Patient", "ServiceRequest", "Organization")
    ehr = a_department(software="Epic", types=types, by_id=by_id)
    ehr.put(patient("q", "19800102"))
    ehr.put(referral("r", "Patient/q", requester={"reference": "Organization/ortho"}))
    with serving(ehr):
        chosen = Settings(ehr=(EhrSettings(name="care", url=ehr.url, types=types, patients=("p", "q")),))
        assert run(store, chosen)[0].ok
        ehr.put({**ehr.resources["Patient/p"], "deceasedDateTime": "2026-03-04"})
        ehr.put({**ehr.resources["Organization/care"], "name": "moved"})
        ehr.delete("Organization/ortho")
        ehr.requests.clear()
        (report,) = run(store, chosen)
        assert report.counts["Patient"].updated == 1
        assert (report.counts["Organization"].updated, report.counts["Organization"].deleted) == (1, 1)
        asked = [r for r in ehr.requests if r.startswith("Organization")]
        assert asked[0] == ("Organization?_id=care%2Cortho&_count=2" if by_id else "Organization/care")
        assert run(store, chosen)[0].counts["Organization"] == Counts(read=1, unchanged=1)
    assert any("deceasedDateTime" in v.data for v in every(store, "Patient"))
    assert feed(store, "care", "Organization").state == "observable"


def test_progress_tells_pages_and_no_names(store: Store) -> None:
    ehr = Ehr(page_size=10).load(*(patient(str(n), str(n)) for n in range(25)))
    told: list[Progress] = []
    with serving(ehr):
        run(store, settings_for(care=ehr), progress=told.append)
    assert [(p.page, p.read, p.total) for p in told if p.type == "Patient"] == [
        (1, 10, 25),
        (2, 20, 25),
        (3, 25, 25),
    ]


def test_only_one_sync_at_a_time(store: Store) -> None:
    ehr = a_department()
    with serving(ehr), alone.alone(store), pytest.raises(Conflict, match="Another sync is at work"):
        synced(store, care=ehr)


def test_an_unknown_ehr_and_no_ehr_at_all_are_said(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"\[\[ehr\]\]"):
        run(store, Settings())
    with pytest.raises(ConfigError, match="known: care"):
        run(store, settings_for(care=Ehr(url="http://127.0.0.1:9")), names=["cara"])


def test_check_says_what_an_ehr_can_do() -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        made = check(settings_for(care=ehr).ehr[0])
    assert {row.find for row in made.types} == {"history"}
    with pytest.raises(EhrUnreachable):
        check(EhrSettings(name="away", url="http://127.0.0.1:9"), politeness=QUICK)


def test_a_deleted_patient_is_gone_and_what_points_to_it_still_says_who(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        own = one(store, "Patient")
        ehr.delete("Patient/p")
        synced(store, full=True, care=ehr)
    with pytest.raises(Gone):
        store.read("Patient", own.id)
    assert one(store, "Task").data["for"] == {"reference": own.reference}


def test_a_feed_that_nobody_asks_for_any_more_is_dropped(store: Store) -> None:
    care, ortho = a_department(), Ehr()
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        chosen = settings_for(care=care)
        fewer = chosen.ehr[0].model_copy(update={"types": ("Patient",)})
        run(store, Settings(ehr=(fewer,)))
    with store.connect() as connection:
        assert [(row.ehr, row.type) for row in feeds(connection)] == [("care", "Patient")]

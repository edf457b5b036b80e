"""Whole runs against servers that speak real HTTP."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from fhir_coprod import jsontext
from fhir_coprod.errors import ConfigError, Conflict, EhrUnreachable, Gone
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.settings import BearerAuth, EhrSettings, Settings
from fhir_coprod.store import Query, Store, Version
from fhir_coprod.sync import alone, people
from fhir_coprod.sync.ehr.client import Politeness
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.reading.shared import Progress
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import Feed, feeds
from fhir_coprod.sync.staging.stage import Counts, holdings
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

QUICK = Politeness(attempts=2, first_pause=0.01, longest_pause=0.02)


def a_department(**habits: Any) -> Ehr:
    """Primary care: one patient, one referral to orthopaedics."""
    return Ehr(**habits).load(
        organization("care", "GP"),
        organization("ortho", "OR"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1", requester={"reference": "Organization/care"}),
        task("t", "Patient/p", "ServiceRequest/s", owner={"reference": "Organization/ortho"}),
    )


def synced(store: Store, full: bool = False, on_invalid: str = "keep", **ehrs: Ehr) -> dict[str, EhrReport]:
    reports = run(store, settings_for(on_invalid=on_invalid, **ehrs), full=full, politeness=QUICK)
    return {report.ehr: report for report in reports}


def one(store: Store, type: str, **criteria: str) -> Version:
    found = every(store, type, **criteria)
    assert len(found) == 1
    return found[0]


def every(store: Store, type: str, **criteria: str) -> list[Version]:
    return store.search(Query.parse(type, list(criteria.items()), strict=True)).matches


def feed(store: Store, ehr: str, type: str) -> Feed:
    with store.connect() as connection:
        return next(row for row in feeds(connection, ehr) if row.type == type)


def _bundle_that_leads_to(address: str) -> bytes:
    link = [{"relation": "next", "url": address}]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": link}).encode()


HABITS = [
    pytest.param({"history": True}, id="history"),
    pytest.param({"last_updated": True}, id="last-updated"),
    pytest.param({}, id="crawl"),
]


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


def test_two_departments_become_one_story(store: Store) -> None:
    care = a_department()
    ortho = Ehr().load(
        organization("ortho", "OR", name="Orthopaedics"),
        patient("900", "19700102", telecom=[{"system": "phone", "value": "070"}]),
        referral("77", "Patient/900", "R1", status="on-hold", requester={"display": "the GP"}),
        task("1", "Patient/900", "ServiceRequest/77", "accepted", owner={"reference": "Organization/ortho"}),
    )
    with serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert synced(store, care=care, ortho=ortho)["care"].ok
    assert reports["ortho"].counts["Patient"].merged == 1
    assert not any(counts.conflicts for report in reports.values() for counts in report.counts.values())
    order = one(store, "ServiceRequest")
    assert order.data["status"] == "active"
    assert len(every(store, "Task", focus=order.reference)) == 2
    owner = {v.data["owner"]["reference"] for v in every(store, "Task")}
    assert len(owner) == 1
    assert store.head() == 6  # 2 organisations, patient, order, 2 tasks: written once each


def _asked(store: Store) -> Version:
    return one(store, "Task", code="possible-same-patient")


def _two_who_are_alike() -> tuple[Ehr, Ehr]:
    return Ehr().load(patient("p", "19700102"), referral("s", "Patient/p")), Ehr().load(patient("900"))


def test_who_is_only_alike_stays_two_until_a_person_says_that_they_are_one(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert len(every(store, "Patient")) == 2
        assert reports["ortho"].counts["Patient"].conflicts == 1
        question = _asked(store)
        asked = {
            question.data["focus"]["reference"],
            question.data["input"][0]["valueReference"]["reference"],
        }
        assert asked == {v.reference for v in every(store, "Patient")}
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head

        said = people.decide(
            store, settings_for(care=care, ortho=ortho), [question.id[:8]], "same", " Karin  Sand "
        )
        assert (said.carried_out, said.by) == (True, "Karin Sand")
        living = _in_use(store)
        assert len(living) == 1
        assert one(store, "ServiceRequest").data["subject"]["reference"] == living[0].reference
        retired = next(v for v in every(store, "Patient") if v.data.get("active") is False)
        assert retired.data["link"] == [{"other": {"reference": living[0].reference}, "type": "replaced-by"}]
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head


def test_what_a_person_added_to_the_question_stays(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        question = _asked(store)
        taken = {**question.data, "status": "in-progress", "note": [{"text": "I will call her"}]}
        store.write(lambda t: t.put(jsontext.from_data(taken), question.id))
        for gender in ("female", "unknown"):
            ortho.put(patient("900", gender=gender))
            synced(store, care=care, ortho=ortho)
        standing = _asked(store).data
        assert (standing["status"], standing["note"]) == ("in-progress", taken["note"])
        ortho.put(patient("900", birthDate="1999-09-09"))
        synced(store, care=care, ortho=ortho)
    withdrawn = _asked(store).data
    assert (withdrawn["status"], withdrawn["note"]) == ("cancelled", taken["note"])


def test_a_question_that_a_program_completes_joins_nobody_and_is_asked_again(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        question = _asked(store)
        answer = {**question.data, "status": "completed"}
        answer["output"] = [{"type": {"text": "decision"}, "valueCode": "same"}]
        store.write(lambda t: t.put(jsontext.from_data(answer), question.id))
        synced(store, care=care, ortho=ortho)
        assert _asked(store).data["status"] == "requested"
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head
    assert len(_in_use(store)) == 2


def test_the_first_run_and_a_full_one_tell_what_they_saw_of_each_system(store: Store) -> None:
    policy = {"system": "urn:policy", "value": "P1"}
    family = [("Karl", "1960-05-05"), ("Anna", "1990-06-06")]
    care = Ehr().load(
        *(
            {
                **patient(f"f{n}", birthDate=born, name=[{"family": "Ek", "given": [given]}]),
                "identifier": [policy],
            }
            for n, (given, born) in enumerate(family)
        ),
        patient("p", "19700102"),
    )
    ortho = Ehr().load(patient("900", "19700102"), patient("901", "7"))
    with serving(care, ortho):
        first = synced(store, care=care, ortho=ortho)
        again = synced(store, care=care, ortho=ortho)
        full = synced(store, full=True, care=care, ortho=ortho)
    numbers = {"system": "urn:number", "values": 1, "shared": 1, "different": 0, "trusted": True}
    odd = {"system": "urn:policy", "values": 1, "shared": 1, "different": 1, "trusted": True}
    assert first["care"].to_json()["identifiers"] == [numbers, odd]
    assert first["ortho"].to_json()["identifiers"] == [{**numbers, "values": 2}]
    assert again["care"].to_json()["identifiers"] == []
    assert full["care"].to_json()["identifiers"] == [numbers, odd]


def test_a_mistaken_identifier_corrected_at_the_ehr_parts_what_was_one(store: Store) -> None:
    care = a_department()
    ortho = Ehr().load(
        patient("900", "19700102"),
        referral("77", "Patient/900", "R1"),
        task("1", "Patient/900", "ServiceRequest/77"),
    )
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        before = one(store, "Patient").id
        ortho.put(patient("900", "19990909", birthDate="1999-09-09"))
        synced(store, care=care, ortho=ortho)
    kept, parted = sorted(every(store, "Patient"), key=lambda v: v.id != before)
    assert kept.id == before
    assert kept.data["birthDate"] == "1970-01-02"
    assert "link" not in kept.data
    assert parted.data["birthDate"] == "1999-09-09"
    orders = {v.data["subject"]["reference"]: v.reference for v in every(store, "ServiceRequest")}
    assert set(orders) == {kept.reference, parted.reference}
    tasks = {v.data["for"]["reference"]: v.data["focus"]["reference"] for v in every(store, "Task")}
    assert tasks == orders


def test_a_patient_given_up_at_its_ehr_does_not_lead(store: Store) -> None:
    link = [{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]
    ehr = Ehr().load(patient("a", "1", active=False, link=link), patient("b", "1", active=True))
    with serving(ehr):
        synced(store, care=ehr)
    assert one(store, "Patient").data["active"] is True


def _in_use(store: Store) -> list[Version]:
    return [v for v in every(store, "Patient") if v.data.get("active") is not False]


def test_bad_records_become_dead_letters_and_stop_nothing(store: Store) -> None:
    ehr = a_department()
    for number, raw in enumerate(
        [
            b'{"resourceType":"Task","id":"x0","status":"requested","intent":"order","colour":"red"}',
            b'{"resourceType":"Task","id":"x1","status":"requested","intent":"order","status":"draft"}',
            b'{"resourceType":"Task","id":"x2","status":}',
            b'{"resourceType":"Task","status":"requested","intent":"order"}',
            b'{"resourceType":"Patient","id":"x4"}',
            b'"text"',
            b'{"resourceType":"Task","id":"x6","contained":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
        ]
    ):
        ehr.put(task(f"x{number}", "Patient/p", "ServiceRequest/s"))
        ehr.broken[f"Task/x{number}"] = raw
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
        assert report.counts["Task"] == Counts(read=8, created=2, dead=6, not_valid=1)
        assert not report.ok
        assert not report.error
        again = synced(store, care=ehr)["care"]
    assert again.counts["Task"].dead == 6
    assert len(every(store, "Task")) == 2


def test_an_invalid_change_leaves_the_last_good_version_where_such_records_are_refused(
    store: Store,
) -> None:
    ehr = a_department()
    refuse = partial(synced, store, on_invalid="refuse")
    with serving(ehr):
        refuse(care=ehr)
        ehr.broken["Task/t"] = b'{"resourceType":"Task","id":"t","status":"no such status","intent":"order"}'
        report = refuse(full=True, care=ehr)["care"]
        assert report.counts["Task"] == Counts(read=1, dead=1)
        assert one(store, "Task").version == 1
        ehr.broken.clear()
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        assert refuse(care=ehr)["care"].ok
    assert one(store, "Task").data["status"] == "accepted"


def test_what_we_may_not_see_is_not_taken_for_deleted(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ehr.hidden.add("Task/t")
        report = synced(store, full=True, care=ehr)["care"]
    assert report.counts["Task"].deleted == 0
    assert "could not be looked at" in report.faults["Task"]
    assert len(every(store, "Task")) == 1
    assert feed(store, "care", "Task").state == "behind"


def test_what_is_answered_with_a_page_for_people_is_not_taken_for_seen(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ehr.hidden.add("Task/t")
        ehr.odd["Task/t"] = Response("<!doctype html><p>Log in", media_type="text/html")
        report = synced(store, full=True, care=ehr)["care"]
    assert "could not be looked at" in report.faults["Task"]
    assert feed(store, "care", "Task").state == "behind"


def test_an_unreachable_ehr_stops_no_other(store: Store) -> None:
    care, away = a_department(), Ehr()
    with serving(care):
        away.url = "http://127.0.0.1:9/fhir"
        reports = synced(store, away=away, care=care)
    assert "no answer" in reports["away"].error
    assert reports["care"].ok
    assert feed(store, "away", "Task").state == "failed"
    assert feed(store, "care", "Task").state == "observable"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(b"no gzip", headers={"Content-Encoding": "gzip"}), "cannot be unpacked"),
        (Response(b"", 429, headers={"Retry-After": "\xb2"}), "answers 429"),
        (Response(b"", 503, headers={"Retry-After": "Mon, 01 Jan 0001 00:00:00 +1400"}), "answers 503"),
        (Response(b"", 302, headers={"Location": "http://[::1/x"}), "does not speak HTTP"),
        (Response(b"", 302, headers={"Location": "https://eva:secret@evil.example:99999/x"}), "points to"),
        (Response(b'{"resourceType":"OperationOutcome","issue":7}', 400), "answered 400"),
        (Response(_bundle_that_leads_to("http://[::1/x")), "no address"),
    ],
)
def test_an_odd_answer_is_a_fault_of_that_type_alone(store: Store, answer: Response, said: str) -> None:
    care, ortho = a_department(), a_department()
    care.odd["Task"] = answer
    with serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
    assert said in reports["care"].faults["Task"]
    assert "secret" not in reports["care"].faults["Task"]
    assert reports["care"].counts["Patient"].created == 1
    assert feed(store, "care", "Task").state == "failed"
    assert reports["ortho"].ok
    assert every(store, "Task")


@pytest.mark.parametrize(
    "wrong",
    [
        {"auth": BearerAuth(type="bearer", token_file=Path("no-such-file"))},
        {"vendor": "no-such-file.toml"},
        {"vendor": "nobody"},
    ],
)
def test_a_wrong_setting_of_one_ehr_stops_no_other(store: Store, wrong: dict[str, Any]) -> None:
    care, ortho = a_department(), a_department()
    with serving(care, ortho):
        first, second = settings_for(care=care, ortho=ortho).ehr
        settings = Settings(ehr=(first.model_copy(update=wrong), second))
        bad, good = run(store, settings, politeness=QUICK)
    assert "no-such-file" in bad.error or "nobody" in bad.error
    assert good.ok
    assert one(store, "Task").source == "ehr:ortho"
    assert feed(store, "care", "Task").state == "failed"


def test_what_nobody_foresaw_is_that_ehrs_error_without_its_text(store: Store) -> None:
    care, ortho = a_department(), a_department()

    def validate(document: Document) -> Outcome:
        if document.type == "Task" and document.data["id"] == "odd":
            raise LookupError("Eva Öst")
        return Outcome(())

    care.put(task("odd", "Patient/p", "ServiceRequest/s"))
    with serving(care, ortho):
        bad, good = run(store, settings_for(care=care, ortho=ortho), validate=validate, politeness=QUICK)
    assert "LookupError at fhir_coprod/sync/" in bad.faults["Task"]
    assert "Eva" not in bad.faults["Task"]
    assert bad.counts["Patient"].created == 1
    assert good.ok


def test_a_type_that_fails_stops_no_other(store: Store) -> None:
    ehr = a_department(next_style="", page_size=1)
    ehr.put(task("u", "Patient/p", "ServiceRequest/s"))
    ehr.failing.add("Task")
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
    assert "500" in report.faults["Task"]
    assert report.counts["Patient"].created == 1
    assert feed(store, "care", "Task").state == "failed"


def test_pages_that_lead_back_are_a_fault_and_their_records_are_kept(store: Store) -> None:
    ehr = Ehr(page_size=2, loops=True).load(*(patient(str(n), str(n)) for n in range(6)))
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
    assert "lead back" in report.faults["Patient"]
    assert report.counts["Patient"].created == 4
    assert feed(store, "care", "Patient").state == "failed"


def test_what_cannot_be_seen_is_said(store: Store) -> None:
    ehr = a_department(types=("Patient", "ServiceRequest", "Organization"))
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
    assert report.ok
    assert "Task" not in report.counts
    row = feed(store, "care", "Task")
    assert (row.state, row.reason) == ("not-observable", "the server does not offer Task")


def test_a_feed_knows_since_when_it_fails_and_when_it_last_succeeded(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
    good = feed(store, "care", "Task")
    assert good.first_success == good.last_success is not None
    synced(store, care=ehr)
    bad = feed(store, "care", "Task")
    synced(store, care=ehr)
    worse = feed(store, "care", "Task")
    assert bad.state == worse.state == "failed"
    assert bad.since == worse.since
    assert bad.last_success == good.last_success


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


def test_what_somebody_here_changed_is_kept_when_the_ehr_changes_something_else(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        noted = {**ours.data, "note": [{"text": "afraid of the scanner"}]}
        store.write(lambda t: t.put(jsontext.from_data(noted), ours.id))
        synced(store, full=True, care=ehr)
        assert one(store, "Task").version == 2
        for status in ("accepted", "in-progress"):
            ehr.put({**ehr.resources["Task/t"], "status": status})
            report = synced(store, care=ehr)["care"]
            merged = one(store, "Task")
            assert merged.data["note"] == [{"text": "afraid of the scanner"}]
            assert merged.data["status"] == status
            assert report.counts["Task"].conflicts == 0


def test_an_element_changed_on_both_sides_keeps_ours_and_asks_a_person(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "priority": "stat", "status": "accepted"})
        report = synced(store, care=ehr)["care"]
        again = synced(store, full=True, care=ehr)["care"]
    merged = store.read("Task", ours.id)
    assert (merged.data["priority"], merged.data["status"]) == ("urgent", "accepted")
    assert report.counts["Task"].conflicts == 1
    assert again.counts["Task"].conflicts == 0
    question = one(store, "Task", code="merge-conflict")
    assert question.data["focus"]["reference"] == ours.reference
    assert "priority" in question.data["description"]
    assert "urgent" not in question.data["description"]


def test_a_resource_changed_here_deleted_at_the_ehr_and_made_again_is_whole(store: Store) -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        synced(store, care=ehr)
        again = ehr.resources["Task/t"]
        ehr.delete("Task/t")
        synced(store, care=ehr)
        ehr.put(again)
        synced(store, care=ehr)
    found = one(store, "Task")
    assert (found.id, found.data["status"], found.data["intent"]) == (ours.id, "accepted", "order")
    assert "focus" in found.data


def test_a_resource_deleted_here_is_whole_when_the_ehr_changes_it(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        synced(store, care=ehr)
        store.write(lambda t: t.delete("Task", ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "in-progress"})
        synced(store, care=ehr)
    found = one(store, "Task").data
    assert (found["status"], found["intent"]) == ("in-progress", "order")


def a_goal(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal",
        "id": "g",
        "lifecycleStatus": "active",
        "description": {"text": "walk to the shop"},
        "subject": {"reference": "Patient/p"},
        **more,
    }


def of_goals(ehr: Ehr) -> Settings:
    return Settings(ehr=(EhrSettings(name="care", url=ehr.url, types=("Patient", "Goal")),))


def test_a_choice_that_both_sides_made_otherwise_stays_one_choice(store: Store) -> None:
    ehr = Ehr().load(patient("p"), a_goal(startDate="2026-01-01"))
    with serving(ehr):
        run(store, of_goals(ehr))
        ours = one(store, "Goal")
        chosen = {key: value for key, value in ours.data.items() if key != "startDate"}
        chosen["startCodeableConcept"] = {"text": "after the operation"}
        store.write(lambda t: t.put(jsontext.from_data(chosen), ours.id))
        ehr.put(a_goal(startDate="2026-02-02", note=[{"text": "new"}]))
        (report,) = run(store, of_goals(ehr))
    merged = one(store, "Goal").data
    assert merged["startCodeableConcept"] == {"text": "after the operation"}
    assert merged["note"] == [{"text": "new"}]
    assert "startDate" not in merged
    assert report.counts["Goal"].conflicts == 1
    assert "start[x]" in one(store, "Task", code="merge-conflict").data["description"]


def test_changes_that_together_break_fhirs_rules_leave_ours_whole_and_ask_a_person(store: Store) -> None:
    target = {"measure": {"text": "steps"}, "detailInteger": 500}
    ehr = Ehr().load(patient("p"), a_goal(note=[{"text": "old"}], target=[target]))
    both_reported = Outcome((Issue("error", "invariant", "made up: not both"),))

    def validate(document: Document) -> Outcome:
        return both_reported if document.data.keys() >= {"category", "statusDate"} else Outcome(())

    with serving(ehr):
        run(store, of_goals(ehr), validate=validate)
        ours = one(store, "Goal")
        edited = {**ours.data, "statusDate": "2026-03-03"}
        store.write(lambda t: t.put(jsontext.from_data(edited), ours.id))
        ehr.put(a_goal(category=[{"text": "diet"}], target=[target]))
        (report,) = run(store, of_goals(ehr), validate=validate)
        kept = one(store, "Goal")
        assert kept.version == 2
        assert report.counts["Goal"].conflicts == 1
        assert "FHIR's rules" in one(store, "Task", code="merge-conflict").data["description"]
        ehr.put(a_goal(target=[target], priority={"text": "high"}))
        run(store, of_goals(ehr), validate=validate)
    merged = one(store, "Goal").data
    assert (merged["statusDate"], merged["priority"]) == ("2026-03-03", {"text": "high"})
    assert "note" not in merged  # what the EHR took away while nothing could be merged


def test_records_that_together_break_fhirs_rules_leave_the_first_whole_and_ask_a_person(store: Store) -> None:
    care = Ehr().load(patient("p", "19700102", gender="female"))
    ortho = Ehr().load(patient("900", "19700102", maritalStatus={"text": "married"}))

    def validate(document: Document) -> Outcome:
        bad = document.data.keys() >= {"gender", "maritalStatus"}
        return Outcome((Issue("error", "invariant", "made up"),)) if bad else Outcome(())

    with serving(care, ortho):
        reports = run(store, settings_for(care=care, ortho=ortho), validate=validate)
    kept = one(store, "Patient")
    assert kept.data["gender"] == "female"
    assert "maritalStatus" not in kept.data
    assert one(store, "Task", code="merge-conflict").data["focus"]["reference"] == kept.reference
    assert reports[0].counts["Patient"].conflicts == 1


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


def test_a_feed_that_stays_behind_is_behind_since_it_first_was(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        good = feed(store, "care", "Task")
        ehr.hidden.add("Task/t")
        synced(store, full=True, care=ehr)
        first = feed(store, "care", "Task")
        report = synced(store, full=True, care=ehr)["care"]
        second = feed(store, "care", "Task")
    assert report.faults["Task"] == first.reason
    assert first.state == second.state == "behind"
    assert first.since == second.since
    assert first.since > good.since
    assert second.last_success == good.last_success  # since then nobody knows everything


def test_a_deletion_that_could_not_be_looked_at_is_looked_at_again(store: Store) -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        synced(store, care=ehr)
        ehr.delete("Task/t")
        ehr.hidden.add("Task/t")
        synced(store, care=ehr)
        assert every(store, "Task")
        ehr.hidden.clear()
        ehr.put(task("u", "Patient/p", "ServiceRequest/s"))
        ehr.clock += timedelta(hours=1)
        synced(store, care=ehr)
    assert [v.data["meta"]["source"] for v in every(store, "Task")] == [f"{ehr.url}/Task/u"]


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


def test_postgresql_holds_the_same_story(postgresql_store: str) -> None:
    long = "9" * 5000
    care = a_department()
    care.put(organization("long", long))
    ortho = Ehr(history=True).load(
        organization("ortho", "OR"),
        organization("as-long", long),
        patient("900", "19700102"),
        patient("901"),
        referral("77", "Patient/900", "R1", status="on-hold"),
        task("1", "Patient/900", "ServiceRequest/77", "accepted"),
    )
    ortho.broken["Task/1"] = b"{}"
    with Store.open(postgresql_store) as store, serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert reports["ortho"].counts["Organization"].merged == 2
        assert reports["ortho"].counts["Task"].dead == 1
        assert one(store, "ServiceRequest").data["status"] == "active"
        assert one(store, "Task", code="possible-same-patient")
        ortho.broken.clear()
        ortho.delete("Patient/901")
        run(store, settings_for(care=care, ortho=ortho), dry_run=True)
        reports = synced(store, care=care, ortho=ortho)
        assert reports["ortho"].ok
        assert reports["ortho"].counts["Patient"].deleted == 1
        assert one(store, "Task", code="possible-same-patient").data["status"] == "cancelled"
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head

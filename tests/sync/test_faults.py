"""What goes wrong at an EHR is told, stops nothing else, and is never taken for an absence."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from fhir_coprod.accounts import BearerAuth
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.conftest import settings_for
from tests.sync.departments import QUICK, a_department, every, feed, one, synced
from tests.sync.records import patient, task
from tests.sync.server import Ehr, serving


def _bundle_that_leads_to(address: str) -> bytes:
    link = [{"relation": "next", "url": address}]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "link": link}).encode()


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

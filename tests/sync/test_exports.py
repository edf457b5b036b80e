"""Types that are read by bulk export: which, when, and what becomes of their records."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from fhir_coprod.store import Store
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.departments import feed
from tests.sync.exporting import (
    FAILED,
    MANY,
    QUICK,
    Exporting,
    alive,
    hospital,
    left_behind,
    remarked,
    settings_for,
    synced,
)
from tests.sync.server import serving


def test_what_can_only_be_crawled_is_exported_and_the_export_is_cleared_away(
    store: Store, store_path: str
) -> None:
    ehr = hospital()
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok, report.to_json()
    assert {t: c.created for t, c in report.counts.items()} == {
        "Organization": 1,
        "Patient": MANY,
        "ServiceRequest": MANY,
        "Task": MANY,
    }
    [export] = ehr.exports
    assert export.is_cleared
    assert (export.level, export.since) == ("", "")
    assert set(export.types) == {"Organization", "Patient", "ServiceRequest", "Task"}
    assert not left_behind(store, store_path)
    known = feed(store, "care", "Task")
    assert known.state == "observable"
    assert known.watermark[:19] == export.time[:19], "changes are asked for since transactionTime"


def test_the_next_export_is_of_changes_and_names_what_was_deleted(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.put({**ehr.resources["Task/t1"], "status": "accepted"})
        ehr.delete("Task/t2")
        report = synced(store, store_path, ehr, overlap_seconds=0)
    first, second = ehr.exports
    assert second.since == first.time
    assert report.counts["Task"] == Counts(read=1, updated=1, deleted=1)
    assert report.counts["Patient"] == Counts()
    assert "t2" not in alive(store, "Task")
    assert report.ok


def test_no_export_is_begun_before_it_is_due(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr, bulk_every_hours=None)
        report = synced(store, store_path, ehr, bulk_every_hours=None)
        assert len(ehr.exports) == 1
        assert report.ok
        [remark] = report.remarks.values()
        assert "the next one is due at" in remark
        assert remark.endswith(" (and 3 other types)")
        synced(store, store_path, ehr, full=True, bulk_every_hours=None)
    assert len(ehr.exports) == 2, "unless somebody asks for everything"
    assert ehr.exports[1].since == ""


def test_what_is_gone_from_a_whole_export_is_looked_at_by_id_and_deleted(
    store: Store, store_path: str
) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.delete("Task/t3")
        ehr.hidden.add("Task/t1")
        report = synced(store, store_path, ehr, full=True)
    assert report.counts["Task"].deleted == 1
    assert alive(store, "Task") >= {"t1"}
    assert "could not be looked at" in report.faults["Task"]
    assert feed(store, "care", "Task").state == "behind"


def test_much_that_is_gone_at_once_is_not_deleted(store: Store, store_path: str) -> None:
    ehr = hospital(60, per_file=50)
    with serving(ehr):
        synced(store, store_path, ehr)
        for n in range(55):
            ehr.delete(f"Task/t{n}")
        report = synced(store, store_path, ehr, full=True)
    assert len(alive(store, "Task")) == 60
    assert "--accept-deletions" in report.faults["Task"]


@pytest.mark.parametrize("habits", [{"history": True}, {"last_updated": True}], ids=str)
def test_a_server_that_tells_changes_is_exported_only_the_first_time(
    store: Store, store_path: str, habits: dict[str, Any]
) -> None:
    ehr = hospital(**habits)
    with serving(ehr):
        assert synced(store, store_path, ehr).counts["Task"].created == MANY
        asked = len([r for r in ehr.requests if r.startswith("Task")])
        ehr.put({**ehr.resources["Task/t1"], "status": "accepted"})
        report = synced(store, store_path, ehr)
    assert asked == 0
    assert len(ehr.exports) == 1
    assert report.counts["Task"].updated == 1
    assert report.ok


def test_the_plan_says_what_is_exported_and_why(store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        made = check(settings_for(store_path, ehr).ehr[0])
    task = made.of("Task")
    assert task is not None
    assert (task.find, task.otherwise) == ("bulk", "crawl")
    assert "bulk export of the whole server instead of: everything each time" in task.reason
    assert made.to_json()["exports"] == "bulk export of the whole server"


def test_the_ballot_of_the_guide_is_understood(store: Store, store_path: str) -> None:
    """No kick-off by GET, `outcome` for `error`, a manifest in parts."""
    ehr = hospital(methods=("POST",), errors="outcome", in_parts=True)
    ehr.outcomes = [
        {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"}]}
    ]
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY
    assert set(ehr.exports[0].types) == {"Organization", "Patient", "ServiceRequest", "Task"}
    assert "the export has 1 warning" in remarked(report)


def test_packed_files_are_read(store: Store, store_path: str) -> None:
    ehr = hospital(zipped=True)
    with serving(ehr):
        assert synced(store, store_path, ehr).counts["Task"].created == MANY


@pytest.mark.parametrize("habits", [{"heeds_type": False}, {"heeds_since": False}], ids=str)
def test_a_server_that_ignores_parameters_gives_more_and_no_harm_is_done(
    store: Store, store_path: str, habits: dict[str, Any]
) -> None:
    ehr = hospital(**habits)
    ehr.load({"resourceType": "Flag", "id": "f", "status": "active"})
    with serving(ehr):
        assert synced(store, store_path, ehr).ok
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created + report.counts["Task"].updated == 0
    assert not [name for name in ehr.fetched if name.startswith("Flag")], "nobody asked for them"


def test_a_type_that_the_export_does_not_hold_is_searched(store: Store, store_path: str) -> None:
    ehr = hospital()

    def without_tasks(manifest: dict[str, Any]) -> dict[str, Any]:
        return {**manifest, "output": [o for o in manifest["output"] if o["type"] != "Task"]}

    ehr.manifest = without_tasks
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.counts["Task"].created == MANY
    assert report.ok


def test_an_export_that_is_refused_is_made_up_for_by_searches(store: Store, store_path: str) -> None:
    ehr = hospital(methods=())
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY
    assert "does not export this (405)" in remarked(report)


@pytest.mark.parametrize(
    "answer",
    [Response(status_code=s) for s in (301, 401, 500)] + [Response("[]"), Response("", 202)],
)
def test_whatever_a_kick_off_is_answered_searches_make_up_for_it(
    store: Store, store_path: str, answer: Response
) -> None:
    ehr = hospital(kicks=lambda request: answer)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY


def test_an_export_of_which_nobody_hears_for_long_is_given_up(store: Store, store_path: str) -> None:
    ehr = hospital(status=lambda e, look: Response("<html>Bad gateway", 502))
    with serving(ehr):
        first = synced(store, store_path, ehr, bulk_every_hours=1)
        assert "does not say how far the export is (502, HTML)" in first.faults["Task"]
        settings = settings_for(store_path, ehr, bulk_every_hours=1)
        sync = settings.sync.model_copy(update={"bulk_job_hours": 1e-9})
        [second] = run(store, settings.model_copy(update={"sync": sync}), politeness=QUICK)
    assert second.ok
    assert second.counts["Task"].created == MANY


def test_a_server_that_refuses_since_exports_everything(store: Store, store_path: str) -> None:
    ehr = hospital(kicks=lambda r: JSONResponse(FAILED, 400) if "_since" in str(r.url) else None)
    ehr.methods = ("GET",)
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.put({**ehr.resources["Task/t1"], "status": "accepted"})
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].updated == 1
    assert [e.since for e in ehr.exports] == ["", ""]


def test_a_dry_run_begins_no_export(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        [report] = run(store, settings_for(store_path, ehr), dry_run=True, politeness=QUICK)
    assert not ehr.exports
    assert report.counts["Task"].created == MANY
    assert "a dry run begins no export" in remarked(report)


# --- what is not whole ----------------------------------------------------------------------------


def test_an_error_beside_the_records_leaves_its_type_behind(store: Store, store_path: str) -> None:
    ehr = hospital()
    issue = {"severity": "error", "code": "processing", "diagnostics": "3 Task resources failed for Eva Öst"}
    ehr.outcomes = [{"resourceType": "OperationOutcome", "issue": [issue]}]
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.counts["Task"].created == MANY, "what came is kept"
    assert report.faults == {"Task": "the server says that something is missing (processing)"}
    assert feed(store, "care", "Task").watermark == ""
    assert feed(store, "care", "Patient").state == "observable"


def test_an_error_that_names_no_type_leaves_all_behind(store: Store, store_path: str) -> None:
    ehr = hospital()
    ehr.outcomes = [{"resourceType": "OperationOutcome", "issue": [{"severity": "fatal", "code": "timeout"}]}]
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert set(report.faults) == {"Organization", "Patient", "ServiceRequest", "Task"}


def test_an_error_about_a_patient_may_be_about_anything_of_that_patient(
    store: Store, store_path: str
) -> None:
    ehr = hospital()
    issue = {"severity": "error", "code": "processing", "diagnostics": "Patient/p1 could not be exported"}
    ehr.outcomes = [{"resourceType": "OperationOutcome", "issue": [issue]}]
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "Task" in report.faults


def test_fewer_records_than_the_manifest_counts_leave_the_type_behind(store: Store, store_path: str) -> None:
    ehr = hospital()

    def more(manifest: dict[str, Any]) -> dict[str, Any]:
        for one in manifest["output"]:
            one["count"] += one["type"] == "Task"
        return manifest

    ehr.manifest = more
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "should have" in report.faults["Task"]
    assert not report.faults.keys() - {"Task"}


def test_a_record_that_is_no_json_is_a_dead_letter_and_stops_nothing(store: Store, store_path: str) -> None:
    ehr = hospital()
    ehr.broken["Task/t3"] = b'{"resourceType":"Task","id":"t3"'
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.counts["Task"].dead == 1
    assert report.counts["Task"].created == MANY - 1


def cut(ehr: Exporting, name: str) -> Response:
    return Response(ehr.content(ehr.exports[-1], name)[:-20], media_type="application/fhir+ndjson")


def test_a_file_that_ends_in_mid_line_is_fetched_again(store: Store, store_path: str) -> None:
    ehr = hospital(file=lambda e, name, nth: cut(e, name) if name == "Task.0" and nth == 1 else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (cut, "it ends in the middle of a line"),
        (lambda e, name: Response("<!doctype html><p>Log in"), "it answers HTML or XML"),
        (lambda e, name: Response(status_code=503), "it answers 503"),
        (lambda e, name: Response(status_code=429, headers={"Retry-After": "9999"}), "it answers 429"),
    ],
)
def test_a_file_that_does_not_come_costs_its_type_only_and_the_next_run_fetches_it_alone(
    store: Store, store_path: str, answer: Any, words: str
) -> None:
    ehr = hospital(file=lambda e, name, nth: answer(e, name) if name == "Task.0" else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
        assert words in report.faults["Task"]
        assert set(report.faults) == {"Task"}
        assert report.counts["Patient"].created == MANY
        ehr.file = lambda e, name, nth: None
        ehr.fetched.clear()
        again = synced(store, store_path, ehr)
    assert len([e for e in ehr.exports if e.types and not e.since]) == 1, "the same export"
    assert [name for name in ehr.fetched if name.startswith("Task")][:1] == ["Task.0"]
    assert again.counts["Task"].created == MANY
    assert again.ok
    assert not left_behind(store, store_path)


def test_a_packed_file_that_is_cut_off_leaves_its_type_behind(store: Store, store_path: str) -> None:
    def packed(ehr: Exporting, name: str, nth: int) -> Response | None:
        whole = gzip.compress(ehr.content(ehr.exports[-1], name))
        return Response(whole[:-12]) if name == "Task.1" else None

    ehr = hospital(file=packed)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "the compressed data (gzip) are cut off" in report.faults["Task"]
    assert set(report.faults) == {"Task"}
    assert feed(store, "care", "Task").watermark == ""

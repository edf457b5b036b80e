"""Types that are read by bulk export: which, when, and what becomes of their records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import bulk_file
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.stage import Counts, holdings
from tests.sync.departments import feed
from tests.sync.exporting import QUICK, Exporting, settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving

MANY = 4


def hospital(patients: int = MANY, **habits: Any) -> Exporting:
    """So many patients, each with a referral and a Task."""
    ehr = Exporting(**habits)
    ehr.load(organization("care", "GP"))
    for n in range(patients):
        ehr.load(
            patient(f"p{n}", f"{n}"),
            referral(f"s{n}", f"Patient/p{n}", f"R{n}"),
            task(f"t{n}", f"Patient/p{n}", f"ServiceRequest/s{n}"),
        )
    return ehr


def synced(
    store: Store, path: str, ehr: Ehr, *, full: bool = False, wait: float = 10, **more: Any
) -> EhrReport:
    [report] = run(store, settings_for(path, ehr, wait=wait, **more), full=full, politeness=QUICK)
    return report


def alive(store: Store, type: str) -> set[str]:
    with store.connect() as connection:
        return {held.foreign_id for held in holdings(connection) if held.type == type}


def left_behind(store: Store, path: str) -> list[Any]:
    """What is left of exports in the store and on the disk."""
    with store.connect() as connection:
        rows: list[Any] = list(connection.execute(bulk_file.select()).all())
    return [*rows, *Path(f"{path.removeprefix('sqlite:///')}-exports").rglob("*.ndjson")]


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
        assert "the next one is due at" in report.remarks["Task"]
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
    assert report.remarks["Task"] == "the export has 1 warning"


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
    assert report.remarks["Task"] == "the export holds none; read by crawl instead"
    assert report.ok


def test_an_export_that_is_refused_is_made_up_for_by_searches(store: Store, store_path: str) -> None:
    ehr = hospital(methods=())
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY
    assert "does not export this (405)" in report.remarks["Task"]


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
    assert "a dry run begins no export" in report.remarks["Task"]


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


# --- exports that take long, fail or vanish -------------------------------------------------------


def test_an_export_that_takes_longer_than_a_run_is_gone_on_with_by_the_next(
    store: Store, store_path: str
) -> None:
    ehr = hospital(polls=5)
    with serving(ehr):
        first = synced(store, store_path, ehr, wait=0.03)
        assert "still under way (50% complete); the next sync goes on with it" in first.faults["Task"]
        assert feed(store, "care", "Task").state == "behind"
        second = synced(store, store_path, ehr, wait=10)
    assert second.counts["Task"].created == MANY
    assert len([e for e in ehr.exports if not e.since]) == 1, "no other export is begun"
    assert second.ok


def test_what_is_known_stays_known_while_the_next_export_is_under_way(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.polls = 99
        report = synced(store, store_path, ehr, wait=0.03)
    assert report.ok
    assert "still under way" in report.remarks["Task"]
    assert feed(store, "care", "Task").state == "observable"


def test_an_export_that_never_ends_is_a_fault_and_is_looked_at_again(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ehr = hospital(polls=10**6)
    with serving(ehr):
        settings = settings_for(store_path, ehr, wait=0.03)
        sync = settings.sync.model_copy(update={"bulk_job_hours": 1e-9})
        late = settings.model_copy(update={"sync": sync})
        reports = [run(store, late, politeness=QUICK)[0] for _ in range(3)]
    assert all("still under way" in report.faults["Task"] for report in reports)
    assert feed(store, "care", "Task").state == "failed"
    assert len(ehr.exports) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_an_export_that_the_server_has_lost_is_begun_again(
    store: Store, store_path: str, status: int
) -> None:
    ehr = hospital(status=lambda e, look: Response(status_code=status) if look == 2 else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert report.counts["Task"].created == MANY
    assert len(ehr.exports) == 2


def test_an_export_that_is_lost_again_and_again_is_not_begun_without_end(
    store: Store, store_path: str
) -> None:
    ehr = hospital(status=lambda e, look: Response(status_code=404))
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert len(ehr.exports) == 2
    assert "lost the export" in report.faults["Task"]


def test_files_that_are_gone_begin_the_export_again(store: Store, store_path: str) -> None:
    ehr = hospital()
    ehr.file = lambda e, name, nth: Response(status_code=404) if len(e.exports) == 1 else None
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert len(ehr.exports) == 2


def test_addresses_that_have_expired_are_asked_for_again(store: Store, store_path: str) -> None:
    ehr = hospital()
    seen: list[str] = []

    def signed(manifest: dict[str, Any]) -> dict[str, Any]:
        seen.append("")
        for one in manifest["output"]:
            one["url"] += f"?signature={len(seen)}"
        return manifest

    ehr.manifest = signed
    ehr.file = lambda e, name, nth: Response(status_code=403) if len(seen) == 1 else None
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert len(ehr.exports) == 1


FAILED = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "exception"}]}


def test_an_export_that_fails_is_told_and_the_next_one_waits_for_its_time(
    store: Store, store_path: str
) -> None:
    ehr = hospital(status=lambda e, look: JSONResponse(FAILED, 500))
    with serving(ehr):
        report = synced(store, store_path, ehr, bulk_every_hours=1)
        assert "the export failed at the server (500: exception)" in report.faults["Task"]
        again = synced(store, store_path, ehr, bulk_every_hours=1)
    assert len(ehr.exports) == 1
    assert ehr.exports[0].is_cleared
    assert "exported again at" in again.faults["Task"], "and nobody forgets it"


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=429, headers={"Retry-After": "1.5"}),
        Response(status_code=503, headers={"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
        Response("<html>Bad gateway", 502),
        JSONResponse({"resourceType": "OperationOutcome", "issue": [{"code": "transient"}]}, 500),
        Response("", 202, headers={"Retry-After": "soon"}),
        JSONResponse({}, 200, headers={"X-Export-Status": "202 Accepted"}),
    ],
)
def test_an_odd_look_does_not_end_an_export(store: Store, store_path: str, answer: Response) -> None:
    ehr = hospital(status=lambda e, look: answer if look in (1, 2) else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert report.ok
    assert len(ehr.exports) == 1


@pytest.mark.parametrize("manifest", [[], {}, {"output": {}}, {"output": [7]}, {"resourceType": "Bundle"}])
def test_something_that_is_no_manifest_is_said_in_words(store: Store, store_path: str, manifest: Any) -> None:
    ehr = hospital(manifest=lambda _: manifest)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "the manifest of its export is" in report.faults["Task"]
    assert ehr.exports[0].is_cleared


@pytest.mark.parametrize("time", [None, "soon", "2999-01-01T00:00:00Z", "2026-01-01"])
def test_a_time_that_cannot_be_is_replaced_by_when_the_export_was_begun(
    store: Store, store_path: str, time: str | None
) -> None:
    ehr = hospital(manifest=lambda m: {**m, "transactionTime": time})
    with serving(ehr):
        assert synced(store, store_path, ehr).ok
    mark = feed(store, "care", "Task").watermark
    assert "2026-01-01" < mark < "2900"
    known = feed(store, "care", "Task")
    assert known.last_success is not None
    assert mark[:16] == known.last_success.isoformat()[:16]


def test_a_kick_off_that_comes_too_early_is_sent_again_when_the_server_says(
    store: Store, store_path: str
) -> None:
    answers = [Response(status_code=429, headers={"Retry-After": "1"})]
    ehr = hospital(kicks=lambda request: answers.pop() if answers else None)
    with serving(ehr):
        assert synced(store, store_path, ehr).ok


def test_a_server_that_asks_to_come_back_much_later_is_left_alone(store: Store, store_path: str) -> None:
    ehr = hospital(kicks=lambda request: Response(status_code=429, headers={"Retry-After": "86400"}))
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "asks to come back in 86400 seconds for an export" in report.faults["Task"]


# --- tokens and hosts -----------------------------------------------------------------------------


def secret(folder: Path, value: str) -> dict[str, Any]:
    file = folder / "token"
    file.write_text(value)
    return {"auth": {"type": "bearer", "token_file": str(file)}}


def test_a_token_that_ends_in_mid_download_is_renewed(store: Store, store_path: str, tmp_path: Path) -> None:
    ehr = hospital(tokens=["old"])
    auth = secret(tmp_path, "old")

    def renews(e: Exporting, name: str, nth: int) -> Response | None:
        if e.tokens == ["old"] and name.startswith("Service"):
            e.tokens = ["new"]
            (tmp_path / "token").write_text("new")
            return Response(status_code=401)
        return None

    ehr.file = renews
    with serving(ehr):
        report = synced(store, store_path, ehr, **auth)
    assert report.ok, report.to_json()
    assert report.counts["Task"].created == MANY
    assert ("/bulk/1", "Bearer new") in ehr.shown, "the export is cleared away with the new one"


def test_another_host_is_shown_no_token(store: Store, store_path: str, tmp_path: Path) -> None:
    ehr, files = hospital(), hospital()
    with serving(ehr, files):
        files.exports = ehr.exports
        ehr.files_at = files.url.removesuffix("/fhir")
        report = synced(store, store_path, ehr, **secret(tmp_path, "mine"))
        assert report.ok
        assert {shown for _, shown in files.shown} == {""}
        synced(store, store_path, ehr, full=True, bulk_hosts=(ehr.files_at,), **secret(tmp_path, "mine"))
    assert files.shown[-1][1] == "Bearer mine", "unless the settings name it"


def test_files_of_a_host_that_wants_our_token_are_told_with_what_to_set(
    store: Store, store_path: str, tmp_path: Path
) -> None:
    ehr, files = hospital(), hospital(tokens=["mine"])
    with serving(ehr, files):
        files.exports = ehr.exports
        ehr.files_at = files.url.removesuffix("/fhir")
        report = synced(store, store_path, ehr, **secret(tmp_path, "mine"))
    assert "see `bulk_hosts`" in report.faults["Task"]
    assert len(ehr.exports) == 1, "nothing is lost"


def test_an_address_alone_opens_files_that_need_no_token(
    store: Store, store_path: str, tmp_path: Path
) -> None:
    """Storage that is opened by a signed address refuses what is shown besides."""
    ehr = hospital(needs_token=False)
    with serving(ehr):
        assert synced(store, store_path, ehr, **secret(tmp_path, "mine")).ok
    assert {shown for path, shown in ehr.shown if path.count("/") == 3} == {""}


# --- groups ---------------------------------------------------------------------------------------

ABOUT_PATIENTS = {"group": "g", "types": ("Patient", "ServiceRequest")}


def test_of_a_group_its_members_are_read_and_who_joins_is_pulled_whole(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        assert alive(store, "ServiceRequest") == {"s0", "s1"}
        ehr.group.append("p2")
        report = synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}, "its referral is old"
    assert [(e.level, bool(e.since), e.patients) for e in ehr.exports] == [
        ("Group/g", False, ()),
        ("Group/g", False, ("p2",)),
        ("Group/g", True, ()),
    ]
    assert report.ok
    assert all(e.is_cleared for e in ehr.exports)


def test_if_patients_cannot_be_exported_alone_everybody_is(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"], takes_patients=False)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert [bool(e.since) for e in ehr.exports] == [False, False]


def test_if_nobody_can_see_who_is_in_the_group_each_export_is_whole(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"], hides_members=True)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p2")
        synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert [bool(e.since) for e in ehr.exports] == [False, False]


@pytest.mark.parametrize("hides_members", [False, True])
def test_who_leaves_the_group_is_kept_and_not_seen_any_more(
    store: Store, store_path: str, hides_members: bool
) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1", "p2"], hides_members=hides_members)
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.remove("p1")
        report = synced(store, store_path, ehr, full=True, **ABOUT_PATIENTS)
        again = synced(store, store_path, ehr, full=True, **ABOUT_PATIENTS)
    assert alive(store, "ServiceRequest") == {"s0", "s1", "s2"}
    assert report.ok
    for one in (report, again):
        assert one.unread["ServiceRequest"] == {"Patient/p1": "is not in Group/g any more"}
        assert one.unread["Patient"] == {"Patient/p1": "is not in Group/g any more"}


def test_who_comes_back_to_the_group_is_pulled_whole_again(store: Store, store_path: str) -> None:
    ehr = hospital(levels=("Group",), group=["p0", "p1"])
    with serving(ehr):
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.remove("p1")
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.put({**ehr.resources["ServiceRequest/s1"], "status": "completed"})
        synced(store, store_path, ehr, **ABOUT_PATIENTS)
        ehr.group.append("p1")
        report = synced(store, store_path, ehr, overlap_seconds=0, **ABOUT_PATIENTS)
    assert [e.patients for e in ehr.exports][-2:] == [("p1",), ()]
    assert report.unread == {}
    assert report.counts["ServiceRequest"].updated == 1


def test_a_group_that_is_not_there_is_told(store_path: str) -> None:
    ehr = hospital(levels=("Group",))
    with serving(ehr):
        made = check(settings_for(store_path, ehr, group="x").ehr[0])
    assert any("the group x of the settings is not at this server" in wrong for wrong in made.wrong)


# --- killed ---------------------------------------------------------------------------------------


def test_a_run_that_is_cut_off_while_it_reads_goes_on_with_the_same_files(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fhir_coprod.jsontext import Document
    from fhir_coprod.outcome import OK, Outcome

    def killed(document: Document) -> Outcome:
        if document.data["id"] == "t3":
            raise KeyboardInterrupt
        return OK

    ehr = hospital()
    with serving(ehr):
        with pytest.raises(KeyboardInterrupt):
            run(store, settings_for(store_path, ehr), politeness=QUICK, validate=killed)
        assert left_behind(store, store_path)
        ehr.fetched.clear()
        report = synced(store, store_path, ehr)
    assert report.ok
    assert not [n for n in ehr.fetched if n.startswith("Task") and not ehr.exports[-1].since]
    assert len([e for e in ehr.exports if not e.since]) == 1
    assert report.counts["Task"].created == 2, "the first two were staged before"
    assert len(alive(store, "Task")) == MANY

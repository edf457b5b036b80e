"""Bulk exports of servers that are hostile, odd or broken: what is asked where, and what is never lost."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import Response, StreamingResponse

from fhir_coprod.errors import EhrUnreachable
from fhir_coprod.settings import EhrSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr import exporter
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.reading import fetching
from fhir_coprod.sync.staging.sinks import StoreSink
from tests.sync.exporting import (
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
from tests.sync.records import task
from tests.sync.server import serving

# --- addresses ------------------------------------------------------------------------------------


def test_nothing_is_asked_of_another_host_about_the_state_of_an_export(store: Store, store_path: str) -> None:
    """Otherwise an EHR could have us read and delete at any address that this machine reaches."""
    ehr, inside = hospital(), hospital()
    ehr.kicks = lambda request: Response(
        status_code=202, headers={"Content-Location": f"{inside.url.removesuffix('/fhir')}/bulk/1"}
    )
    with serving(ehr, inside):
        report = synced(store, store_path, ehr)
    assert not inside.shown
    assert "bulk_hosts" in remarked(report)


def test_the_next_part_of_a_manifest_is_not_fetched_from_another_host(store: Store, store_path: str) -> None:
    ehr, inside = hospital(), hospital()
    with serving(ehr, inside):
        link = [{"relation": "next", "url": f"{inside.url.removesuffix('/fhir')}/bulk/1"}]
        ehr.manifest = lambda manifest: {**manifest, "link": link}
        report = synced(store, store_path, ehr)
    assert not inside.shown
    assert "bulk_hosts" in remarked(report)


@pytest.mark.parametrize("url", ["http://[broken/x", "http://ehr.example:port/x", "//[", "https://a b/"])
def test_a_file_at_no_address_costs_its_type_and_ends_no_run(store: Store, store_path: str, url: str) -> None:
    ehr = hospital()

    def odd(manifest: dict[str, Any]) -> dict[str, Any]:
        for one in manifest["output"]:
            one["url"] = url if one["type"] == "Task" else one["url"]
        return manifest

    ehr.manifest = odd
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert {*report.faults, *report.remarks} == {"Task"}
    assert report.counts["Patient"].created == MANY


def test_a_file_that_is_redirected_to_no_address_costs_its_type_only(store: Store, store_path: str) -> None:
    away = Response(status_code=302, headers={"Location": "http://[broken/x"})
    ehr = hospital(file=lambda e, name, nth: away if name == "Task.0" else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert {*report.faults, *report.remarks} == {"Task"}
    assert report.counts["Patient"].created == MANY


# --- what is lost, and what is not -----------------------------------------------------------------


def test_a_record_that_was_deleted_and_is_there_again_is_taken(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr)
        again = ehr.resources["Task/t1"]
        ehr.delete("Task/t1")
        synced(store, store_path, ehr, overlap_seconds=0)
        assert "t1" not in alive(store, "Task")
        ehr.put(again)
        report = synced(store, store_path, ehr, overlap_seconds=86_400)
    assert "Task/t1" in ehr.exports[-1].deleted, "an export reaches back, so it names the deletion again"
    assert "t1" in alive(store, "Task")
    assert report.ok


def test_a_record_that_came_and_is_gone_by_now_is_deleted(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.load(task("t9", "Patient/p1", "ServiceRequest/s1"))
        ehr.polls = 2

        def meanwhile(e: Exporting, look: int) -> None:
            if "Task/t9" in e.resources:
                e.delete("Task/t9")
                e.exports[-1].deleted.append("Task/t9")

        ehr.status = meanwhile
        synced(store, store_path, ehr, overlap_seconds=0)
    assert "t9" not in alive(store, "Task")


def test_an_export_of_changes_without_deletions_costs_nothing_for_what_is_stored(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ehr = hospital()
    asked: list[str] = []
    living = StoreSink.living

    def counted(sink: StoreSink, name: str, type: str) -> set[str]:
        asked.append(type)
        return living(sink, name, type)

    with serving(ehr):
        synced(store, store_path, ehr)
        monkeypatch.setattr(StoreSink, "living", counted)
        ehr.put({**ehr.resources["Task/t1"], "status": "accepted"})
        assert synced(store, store_path, ehr, overlap_seconds=0).counts["Task"].updated == 1
        assert not asked
        ehr.delete("Task/t1")
        assert synced(store, store_path, ehr, overlap_seconds=0).counts["Task"].deleted == 1
    assert asked == ["Task"]


def test_an_export_for_the_first_time_goes_on_after_some_of_its_types_are_done(
    store: Store, store_path: str
) -> None:
    """Types that are searched for changes later are no longer exported once they are known."""
    ehr = hospital(last_updated=True)
    ehr.file = lambda e, name, nth: Response(status_code=503) if name == "Task.0" else None
    with serving(ehr):
        assert set(synced(store, store_path, ehr).faults) == {"Task"}
        ehr.file = lambda e, name, nth: None
        ehr.fetched.clear()
        report = synced(store, store_path, ehr)
    assert len(ehr.exports) == 1
    assert ehr.fetched == ["Task.0"]
    assert report.ok
    assert len(alive(store, "Task")) == MANY
    assert not left_behind(store, store_path)


def test_fresh_addresses_are_given_to_the_same_files_in_whatever_order_they_come(
    store: Store, store_path: str
) -> None:
    ehr = hospital()
    looks: list[str] = []

    def signed(manifest: dict[str, Any]) -> dict[str, Any]:
        looks.append("")
        for one in manifest["output"]:
            one["url"] += f"?signature={len(looks)}"
            del one["count"]
        if len(looks) > 1:
            manifest["output"].reverse()
        return manifest

    ehr.manifest = signed
    ehr.file = lambda e, name, nth: (
        Response(status_code=403) if len(looks) == 1 and name == "Task.1" else None
    )
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert len(alive(store, "Task")) == MANY
    assert report.ok
    assert len(ehr.exports) == 1


def test_what_is_here_is_not_thrown_away_because_one_look_for_fresh_addresses_fails(
    store: Store, store_path: str
) -> None:
    ehr = hospital()
    ehr.file = lambda e, name, nth: Response(status_code=403) if name == "Task.0" and nth == 1 else None
    ehr.status = lambda e, look: Response(status_code=503) if look == 3 else None
    with serving(ehr):
        synced(store, store_path, ehr)
        report = synced(store, store_path, ehr)
    assert report.ok
    assert len([e for e in ehr.exports if not e.since]) == 1


def test_a_file_that_is_never_there_costs_its_type_and_no_export_every_few_minutes(
    store: Store, store_path: str
) -> None:
    ehr = hospital(file=lambda e, name, nth: Response(status_code=404) if name == "Task.0" else None)
    with serving(ehr):
        report = synced(store, store_path, ehr, bulk_every_hours=1)
        for _ in range(2):
            synced(store, store_path, ehr, bulk_every_hours=1)
    assert len(ehr.exports) <= 2
    assert {*report.faults, *report.remarks} == {"Task"}
    assert report.counts["Patient"].created == MANY


def test_a_file_without_a_type_is_not_passed_over(store: Store, store_path: str) -> None:
    ehr = hospital()

    def untyped(manifest: dict[str, Any]) -> dict[str, Any]:
        for one in manifest["output"]:
            one["type"] = None if one["url"].endswith("Task.1") else one["type"]
        return manifest

    ehr.manifest = untyped
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "files of which it does not say what they hold" in remarked(report)
    assert len(alive(store, "Task")) == MANY, "searched instead"


def test_no_export_takes_the_place_of_one_that_is_under_way(store: Store, store_path: str) -> None:
    ehr = hospital()
    issue = {"severity": "error", "code": "processing", "diagnostics": "some Task"}
    ehr.outcomes = [{"resourceType": "OperationOutcome", "issue": [issue]}]
    with serving(ehr):
        synced(store, store_path, ehr)
        ehr.outcomes, ehr.polls = [], 5
        report = synced(store, store_path, ehr, wait=0.03)
        assert "still under way" in report.faults["Task"]
        assert "when the export that is under way is done" in remarked(report)
        assert [e.types for e in ehr.exports[1:]] == [("Task",)], "all of it, and later changes of the others"
        report = synced(store, store_path, ehr)
    assert report.ok
    assert [bool(e.since) for e in ehr.exports] == [False, False, True]
    assert all(e.is_cleared for e in ehr.exports)


# --- the folder ------------------------------------------------------------------------------------


def test_other_peoples_folders_stay(store: Store, store_path: str, tmp_path: Path) -> None:
    mine = tmp_path / "shared" / "patients.export"
    mine.mkdir(parents=True)
    (mine / "000001.ndjson").write_text("of another program")
    ehr = hospital()
    with serving(ehr):
        settings = settings_for(store_path, ehr)
        sync = settings.sync.model_copy(update={"bulk_folder": str(tmp_path / "shared")})
        [report] = run(store, settings.model_copy(update={"sync": sync}), politeness=QUICK)
    assert report.ok
    assert (mine / "000001.ndjson").exists()


def test_files_of_another_export_are_not_taken_for_those_of_this_one(
    store: Store, store_path: str, tmp_path: Path
) -> None:
    """As after a restore, or if another machine has gone on with the same store."""
    ehr = hospital(file=lambda e, name, nth: Response(status_code=503) if name == "Task.1" else None)
    folder = Path(f"{store_path.removeprefix('sqlite:///')}-exports")
    kept: dict[Path, bytes] = {}
    with serving(ehr):
        synced(store, store_path, ehr)
        kept = {file: file.read_bytes() for file in folder.rglob("*.ndjson")}
        assert kept
        ehr.file = lambda e, name, nth: None
        synced(store, store_path, ehr)
        ehr.load(task("t9", "Patient/p1", "ServiceRequest/s1"))
        ehr.file = lambda e, name, nth: Response(status_code=503) if name == "Task.1" else None
        synced(store, store_path, ehr, full=True)
        for file in folder.rglob("*.ndjson"):
            file.unlink()
        for file, content in kept.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        ehr.file = lambda e, name, nth: None
        ehr.fetched.clear()
        synced(store, store_path, ehr, full=True)
    assert "Task.0" in ehr.fetched


@pytest.mark.parametrize("more", [{"bulk": "never"}, {"types": ("Organization",), "bulk": "never"}], ids=str)
def test_files_of_an_export_that_nobody_wants_any_more_do_not_stay(
    store: Store, store_path: str, more: dict[str, Any]
) -> None:
    ehr = hospital(file=lambda e, name, nth: Response(status_code=503) if name == "Task.1" else None)
    with serving(ehr):
        synced(store, store_path, ehr)
        assert left_behind(store, store_path)
        synced(store, store_path, ehr, **more)
    assert not left_behind(store, store_path)
    assert ehr.exports[0].is_cleared


# --- exports without end ---------------------------------------------------------------------------


def test_files_that_take_longer_than_a_run_may_wait_are_gone_on_with_by_the_next(
    store: Store, store_path: str
) -> None:
    """What others have told is shown when a run ends, so none may take hours."""
    slow = replace(QUICK, clock=count(0, 60).__next__)
    ehr = hospital(per_file=1)
    with serving(ehr):
        settings = settings_for(store_path, ehr, wait=1, bulk_every_hours=1)
        reports = [run(store, settings, politeness=slow)[0] for _ in range(3)]
        assert "still under way" in reports[0].faults["Task"]
        while not reports[-1].ok and len(reports) < 9:
            reports += run(store, settings, politeness=slow)
    assert reports[-1].ok
    assert len(ehr.exports) == 1
    assert len(ehr.fetched) == len(set(ehr.fetched)), "nothing is fetched twice"
    assert len(alive(store, "Task")) == MANY


def test_a_file_that_takes_for_ever_is_not_tried_again_at_once(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "LONGEST_FETCH", 0.3)

    async def drips() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" "
            await asyncio.sleep(0.05)

    ehr = hospital(file=lambda e, name, nth: StreamingResponse(drips()) if name == "Task.0" else None)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert ehr.fetched.count("Task.0") == 1
    assert "it takes more than" in report.faults["Task"]


def test_a_person_can_begin_anew_where_an_export_never_ends(store: Store, store_path: str) -> None:
    ehr = hospital(polls=10**6)
    with serving(ehr):
        settings = settings_for(store_path, ehr, wait=0.03)
        sync = settings.sync.model_copy(update={"bulk_job_hours": 1e-9})
        late = settings.model_copy(update={"sync": sync})
        [report] = run(store, late, full=True, politeness=QUICK)
        assert "fhir-coprod sync care --full" in remarked(report)
        run(store, late, full=True, politeness=QUICK)
    assert len(ehr.exports) == 2
    assert ehr.exports[0].is_cleared


def test_what_a_server_says_of_its_progress_is_not_told_but_for_the_percentage(
    store: Store, store_path: str
) -> None:
    """Faults are logged, and some servers name the patient they are at."""
    said = Response(status_code=202, headers={"X-Progress": "12% done, now at Eva Oest"})
    ehr = hospital(status=lambda e, look: said)
    with serving(ehr):
        report = synced(store, store_path, ehr, wait=0.03)
    assert "(12%)" in report.faults["Task"]
    assert "Eva" not in str(report.to_json())


# --- what the bytes of a file may do ---------------------------------------------------------------


def test_a_file_that_is_packed_several_times_is_not_unpacked(store: Store, store_path: str) -> None:
    """Of two codings the inner one could have any size, in memory."""

    def twice(e: Exporting, name: str, nth: int) -> Response | None:
        if name != "Task.0":
            return None
        body = gzip.compress(gzip.compress(e.content(e.exports[-1], name)))
        return Response(body, headers={"Content-Encoding": "gzip, gzip"})

    ehr = hospital(file=twice)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "packed otherwise" in remarked(report)


def test_files_leave_room_on_the_disk_for_what_else_is_on_it(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = SimpleNamespace(total=2**40, used=2**40 - 2**20, free=2**20)
    ehr = hospital()
    with serving(ehr):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
        report = synced(store, store_path, ehr)
        assert "has no room for its export" in report.faults["Task"]
        assert not list(Path(f"{store_path.removeprefix('sqlite:///')}-exports").rglob("*.*n*"))
        assert len(ehr.fetched) <= fetching.AT_ONCE, "and what has no place is not asked for"
        full.free = 2**39
        report = synced(store, store_path, ehr)
    assert report.ok
    assert len([e for e in ehr.exports if not e.since]) == 1


def test_a_connection_that_breaks_in_a_file_is_not_taken_for_a_fault_of_our_disk(tmp_path: Path) -> None:
    class Breaks(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"resourceType":"Task","id":"t"}\n'
            raise ssl.SSLError(1, "[SSL] record layer failure")

    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Breaks()))

    async def fetched() -> None:
        settings = EhrSettings(name="care", url="https://ehr.example/fhir")
        async with EhrClient(settings, politeness=QUICK, transport=transport) as client:
            await exporter.Exporter(client, ()).fetch(
                "https://ehr.example/f", tmp_path / "1.ndjson", needs_token=True
            )

    with pytest.raises(EhrUnreachable, match="TLS fails"):
        asyncio.run(fetched())
    assert not list(tmp_path.iterdir())

"""Bulk exports that take long, fail, vanish, or are cut off; tokens and hosts of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.reading import exported
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


def test_an_export_that_takes_longer_than_a_run_is_gone_on_with_by_the_next(
    store: Store, store_path: str
) -> None:
    ehr = hospital(polls=5)
    with serving(ehr):
        first = synced(store, store_path, ehr, wait=0.03)
        assert "still under way (50%); the next sync goes on with it" in first.faults["Task"]
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
    assert "still under way" in remarked(report)
    assert feed(store, "care", "Task").state == "observable"


def test_nobody_waits_for_an_export_that_never_ends_and_it_is_looked_at_again(
    store: Store, store_path: str
) -> None:
    ehr = hospital(polls=10**6)
    with serving(ehr):
        settings = settings_for(store_path, ehr, wait=0.03)
        sync = settings.sync.model_copy(update={"bulk_job_hours": 1e-9})
        late = settings.model_copy(update={"sync": sync})
        reports = [run(store, late, politeness=QUICK)[0] for _ in range(3)]
    assert all("still under way" in remarked(report) for report in reports)
    assert all("read by crawl instead" in remarked(report) for report in reports)
    assert reports[0].counts["Task"].created == MANY
    assert len(ehr.exports) == 1


def test_no_other_export_is_begun_while_one_is_under_way(store: Store, store_path: str) -> None:
    ehr = hospital()
    with serving(ehr):
        synced(store, store_path, ehr, types=("Patient",))
        ehr.polls = 3
        report = synced(store, store_path, ehr, types=("Patient", "Task"), wait=0.03)
        assert [e.types for e in ehr.exports[1:]] == [("Task",)], "of everything, as it is new"
        assert "when the export that is under way is done" in remarked(report)
        ehr.put({**ehr.resources["Patient/p1"], "gender": "female"})
        ehr.polls = 0
        report = synced(store, store_path, ehr, types=("Patient", "Task"))
    assert report.ok
    assert (report.counts["Task"].created, report.counts["Patient"].updated) == (MANY, 1)
    assert all(e.is_cleared for e in ehr.exports)


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
    assert "the server has lost the export; read by crawl instead" in remarked(report)
    assert report.counts["Task"].created == MANY


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


def test_an_export_that_fails_is_told_and_the_next_one_waits_for_its_time(
    store: Store, store_path: str
) -> None:
    ehr = hospital(status=lambda e, look: JSONResponse(FAILED, 500))
    with serving(ehr):
        report = synced(store, store_path, ehr, bulk_every_hours=1)
        assert "the export failed at the server (500: exception)" in remarked(report)
        assert report.counts["Task"].created == MANY
        again = synced(store, store_path, ehr, bulk_every_hours=1)
    assert len(ehr.exports) == 1
    assert ehr.exports[0].is_cleared
    assert "the last export failed; read by crawl instead" in remarked(again)


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


@pytest.mark.parametrize("manifest", [[], {"output": [7]}])
def test_something_that_is_no_manifest_is_said_in_words(store: Store, store_path: str, manifest: Any) -> None:
    ehr = hospital(manifest=lambda _: manifest)
    with serving(ehr):
        report = synced(store, store_path, ehr)
    assert "the manifest of its export is" in remarked(report)
    assert report.counts["Task"].created == MANY
    assert ehr.exports[0].is_cleared


@pytest.mark.parametrize("time", [None, "2999-01-01T00:00:00Z"])
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
    assert "see `bulk_hosts`; read by crawl instead" in remarked(report)
    assert len(ehr.exports) == 1, "nothing is lost"


def test_an_address_alone_opens_files_that_need_no_token(
    store: Store, store_path: str, tmp_path: Path
) -> None:
    """Storage that is opened by a signed address refuses what is shown besides."""
    ehr = hospital(needs_token=False)
    with serving(ehr):
        assert synced(store, store_path, ehr, **secret(tmp_path, "mine")).ok
    assert {shown for path, shown in ehr.shown if path.count("/") == 3} == {""}


def test_a_run_that_is_cut_off_while_it_reads_goes_on_with_the_same_files(
    store: Store, store_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "AT_ONCE", 2)

    def killed(document: Document) -> Outcome:
        if document.data["id"] == "t3":
            raise KeyboardInterrupt
        return OK

    ehr = hospital()
    with serving(ehr):
        settings = settings_for(store_path, ehr, bulk_every_hours=1)
        with pytest.raises(KeyboardInterrupt):
            run(store, settings, politeness=QUICK, validate=killed)
        assert left_behind(store, store_path)
        ehr.fetched.clear()
        [report] = run(store, settings, politeness=QUICK)
    assert report.ok
    assert not ehr.fetched, "all files are here"
    assert len(ehr.exports) == 1
    assert report.counts["Task"].created == 2, "the first two were staged before"
    assert len(alive(store, "Task")) == MANY


def test_a_folder_that_cannot_be_made_is_told_with_what_to_set(
    store: Store, store_path: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ehr = hospital()
    with serving(ehr):
        settings = settings_for(store_path, ehr)
        sync = settings.sync.model_copy(update={"bulk_folder": str(tmp_path / "file" / "below")})
        [report] = run(store, settings.model_copy(update={"sync": sync}), politeness=QUICK)
    assert "set sync.bulk_folder to another place" in report.faults["Task"]


def test_files_are_for_this_user_only(store: Store, store_path: str) -> None:
    modes: set[tuple[int, int]] = set()
    ehr = hospital()
    folder = Path(f"{store_path.removeprefix('sqlite:///')}-exports") / "care.export"

    def looks(document: Document) -> Outcome:
        modes.update(
            ((folder.stat().st_mode | f.parent.stat().st_mode) & 0o777, f.stat().st_mode & 0o777)
            for f in folder.glob("*/*")
        )
        return OK

    with serving(ehr):
        run(store, settings_for(store_path, ehr), politeness=QUICK, validate=looks)
    assert modes == {(0o700, 0o600)}


def test_how_far_an_export_is_is_logged_as_a_number_and_not_in_the_words_of_the_server(
    store_path: str, tmp_path: Path
) -> None:
    answers = [Response("", 202, headers={"X-Progress": "50% of Eva Berg's records", "Retry-After": "0"})]
    ehr = hospital(status=lambda e, look: answers.pop() if answers else None, polls=0)
    with serving(ehr):
        file = tmp_path / "coprod.toml"
        file.write_text(
            f'[store]\nurl = "{store_path}"\n[[ehr]]\nname = "care"\nurl = "{ehr.url}"\ntypes = ["Patient"]\n'
        )
        result = CliRunner().invoke(app, ["--config", str(file), "sync"])
    assert result.exit_code == 0, result.output
    assert "event='export'" in result.stderr
    assert "50%" in result.stderr
    assert "Berg" not in result.stderr

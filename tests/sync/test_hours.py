"""EHRs that are left out: paused by a person, outside their hours, or not due yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.instants import instant
from fhir_coprod.settings import EhrSettings, Settings, SyncSettings
from fhir_coprod.store import Store
from fhir_coprod.sync import hours, pauses, runs
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import feeds
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched
from tests import programs
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral
from tests.sync.server import Ehr, serving
from tests.sync.test_cli import coprod, printed

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def care() -> Iterator[Ehr]:
    ehr = Ehr().load(organization("care", "GP"), patient("p", "19700102"), referral("s", "Patient/p", "R1"))
    with serving(ehr):
        yield ehr


@pytest.fixture
def config(tmp_path: Path, store_path: str, care: Ehr) -> Path:
    return written(tmp_path, store_path, care)


def written(folder: Path, store_path: str, ehr: Ehr, more: str = "") -> Path:
    file = folder / "coprod.toml"
    file.write_text(
        f'[store]\nurl = "{store_path}"\n[[ehr]]\nname = "care"\nurl = "{ehr.url}"\n{more}'
        'requests_per_second = 1000\ntypes = ["Organization", "Patient", "ServiceRequest", "Task"]\n'
    )
    return file


def closed_now() -> str:
    """A window that opens in two hours, by UTC."""
    return f"{NOW + 2 * HOUR:%H:%M}-{NOW + 3 * HOUR:%H:%M}"


# --- pauses ---------------------------------------------------------------------------------------


def test_a_paused_ehr_is_left_out_says_so_and_is_no_fault(config: Path, care: Ehr) -> None:
    assert coprod(config, "ehr", "pause", "care", "--because", "upgrade").exit_code == 0
    result = coprod(config, "sync")
    assert result.exit_code == 0
    assert "care: left out, paused since " in result.stderr
    assert result.stderr.rstrip().endswith(": upgrade.")
    assert care.requests == []
    (report,) = printed(coprod(config, "sync", "care", "--json"))
    assert report["ok"]
    assert "upgrade" in report["left_out"]
    assert coprod(config, "sync", "--quiet").output == ""
    assert "upgrade; sync leaves it out" in coprod(config, "ehr", "check").stderr
    (plan,) = printed(coprod(config, "ehr", "check", "--json"))
    assert plan["paused"]["because"] == "upgrade"


def test_a_resumed_ehr_is_read_again(config: Path, care: Ehr) -> None:
    coprod(config, "ehr", "pause", "care")
    assert "was paused since" in coprod(config, "ehr", "resume", "care").stdout
    assert "was not paused" in coprod(config, "ehr", "resume", "care").stdout
    (report,) = printed(coprod(config, "sync", "--json"))
    assert report["left_out"] is None
    assert report["types"]["Patient"]["created"] == 1


def test_a_pause_ends_by_itself_and_cannot_end_in_the_past(config: Path, store_path: str) -> None:
    until = instant(NOW.replace(microsecond=0) + HOUR)
    told = f"until {NOW + HOUR:%Y-%m-%d %H:%M}"
    assert told in coprod(config, "ehr", "pause", "care", "--until", until).stdout
    over = coprod(config, "ehr", "pause", "care", "--until", "2020-01-01")
    assert isinstance(over.exception, ConfigError)
    assert "is over" in str(over.exception)
    with Store.open(store_path) as store, store.connect() as connection:
        assert list(pauses.pauses(connection, NOW)) == ["care"]
        assert pauses.pauses(connection, NOW + 2 * HOUR) == {}


def test_a_pause_is_told_in_the_time_in_which_it_was_said(config: Path) -> None:
    config.write_text(f'[site]\ntimezone = "Europe/Stockholm"\n{config.read_text()}')
    coprod(config, "ehr", "pause", "care", "--until", "2099-01-01", "--because", "server moves")
    for *command, stream in (("ehr", "check", "stderr"), ("sync", "stderr"), ("doctor", "stdout")):
        told = getattr(coprod(config, *command), stream)
        assert "until 2099-01-01 00:00: server moves" in told, command


def test_a_pause_said_again_keeps_the_time_since_when(store: Store) -> None:
    pauses.pause(store, "care", None, "one", NOW - HOUR)
    again = pauses.pause(store, "care", NOW + HOUR, "two", NOW)
    ended = pauses.resume(store, "care", NOW)
    assert ended is not None
    assert (again.because, ended.because) == ("two", "two")
    assert instant(again.since) == instant(ended.since) == instant(NOW - HOUR)


def test_the_watch_says_since_when_a_paused_ehr_is_not_seen_and_claims_nothing_from_it(
    store: Store, care: Ehr
) -> None:
    settings = settings_for(care=care)
    run(store, settings)
    pauses.pause(store, "care", None, "server moves", NOW)
    policy = policies.load("default", settings.site)

    def unseen(now: datetime) -> list[str]:
        return [each.sentence for each in what_cannot_be_watched(store, policy, settings, [], now)]

    (said,) = [each for each in unseen(NOW) if "care" in each]
    assert said.startswith("anything new at care since 20")
    assert said.endswith(": server moves.")
    later = unseen(NOW + timedelta(days=4))
    assert any(
        each.startswith("care: ") and "ServiceRequest" in each and "paused since" in each for each in later
    )


def test_the_pause_of_an_ehr_that_left_the_settings_is_forgotten(store: Store, care: Ehr) -> None:
    pauses.pause(store, "gone", None, "", NOW)
    run(store, settings_for(care=care))
    with store.connect() as connection:
        assert pauses.pauses(connection, NOW) == {}


# --- hours ----------------------------------------------------------------------------------------


def test_outside_its_hours_an_ehr_is_left_out_unless_a_person_says_any_hour(
    tmp_path: Path, store_path: str, care: Ehr
) -> None:
    config = written(tmp_path, store_path, care, f'window = "{closed_now()}"\n')
    result = coprod(config, "sync")
    assert result.exit_code == 0
    assert f"care: left out, outside its hours ({closed_now()}) until {NOW + 2 * HOUR:%H:%M}" in result.stderr
    assert care.requests == []
    (report,) = printed(coprod(config, "sync", "--any-hour", "--json"))
    assert report["types"]["Patient"]["created"] == 1


def test_a_window_that_cannot_be_read_is_refused_with_what_to_write(
    tmp_path: Path, store_path: str, care: Ehr
) -> None:
    result = coprod(written(tmp_path, store_path, care, 'window = "at night"\n'), "sync")
    assert isinstance(result.exception, ConfigError)
    assert "ehr.1.window: write from when until when in local time" in result.exception.message


def test_a_pull_whose_hours_are_over_stops_keeps_what_it_has_and_the_next_goes_on(
    store: Store, care: Ehr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The window ends while the second page is awaited; what came before is kept and not read again."""
    for number in range(6):
        care.put(patient(f"p{number}", f"1970010{number}"))
    care.page_size = 1
    settings = settings_for(care=care)
    ends = datetime.now(UTC) + timedelta(seconds=1.5)
    with monkeypatch.context() as patched:
        patched.setattr(hours, "closing", lambda *_: {"care": ends})
        care.delay = 0.3
        (report,) = run(store, settings)
    assert not report.ok
    assert "hours () were over before it was read; the next run goes on" in report.faults["Patient"]
    with store.connect() as connection:
        states = {row.type: row.state for row in feeds(connection, "care")}
        (kept,) = runs.last(connection, ["care"])["care"]
    assert states["Patient"] == "failed"
    assert kept.result == "faults"
    care.delay = 0
    (again,) = run(store, settings)
    assert again.ok, again.faults
    assert report.counts["Patient"].created + again.counts["Patient"].created == 7


# --- intervals ------------------------------------------------------------------------------------


def site(**windows: Any) -> Settings:
    ehrs = tuple(EhrSettings(name=n, url=f"https://{n}.example/fhir", **more) for n, more in windows.items())
    return Settings(sync=SyncSettings(every_minutes=60), ehr=ehrs)


def take(store: Store, settings: Settings, now: datetime = NOW) -> list[str]:
    return store.write(lambda t: hours.take_due(t, settings, now))


def test_each_ehr_is_due_by_its_own_interval_its_hours_and_its_pauses(store: Store) -> None:
    settings = site(
        often={"every_minutes": 1},
        never={"every_minutes": 0},
        night={"window": closed_now()},
        paused={},
        usual={},
    )
    pauses.pause(store, "paused", NOW + HOUR, "", NOW)
    assert take(store, settings) == ["often", "usual"]
    assert take(store, settings) == []
    assert take(store, settings, NOW + 2.5 * HOUR) == ["night", "paused"], "due as soon as they may be read"


def test_a_sync_that_found_another_in_progress_is_due_again_in_a_minute(store: Store) -> None:
    settings = site(daily={"every_minutes": 1440})
    assert take(store, settings) == ["daily"]
    store.write(lambda t: hours.put_off(t, settings, ["daily"]))
    assert take(store, settings) == []
    began = store.cursor("sync:began:daily")
    store.write(lambda t: t.set_cursor("sync:began:daily", began - 60))
    assert take(store, settings) == ["daily"]


# --- runs -----------------------------------------------------------------------------------------


def test_each_run_has_an_id_in_report_store_and_log(config: Path, store_path: str) -> None:
    first, second = (coprod(config, "sync", "--json") for _ in range(2))
    (report,) = printed(second)
    assert printed(first)[0]["run"] != report["run"]
    assert f"run='{report['run']}'" in second.stderr
    with Store.open(store_path) as store, store.connect() as connection:
        newest, before = runs.last(connection, ["care"], 5)["care"]
    assert newest.run == report["run"]
    assert (newest.result, newest.words, newest.changed, before.changed) == ("ok", "", 0, 3)
    assert newest.took is not None


def test_a_run_of_an_ehr_that_is_down_says_why(store: Store, care: Ehr) -> None:
    settings = settings_for(care=care)
    (ehr,) = settings.ehr
    lost = settings.model_copy(update={"ehr": (ehr.model_copy(update={"url": "http://127.0.0.1:9/fhir"}),)})
    run(store, lost, politeness=Politeness(attempts=1))
    with store.connect() as connection:
        (kept,) = runs.last(connection, ["care"])["care"]
        assert runs.last_good(connection, ["care"]) == {}
    assert kept.result == "failed"
    assert kept.words.startswith("no answer from ")


def test_a_run_that_was_killed_is_called_cut_off_by_the_next(store: Store, care: Ehr) -> None:
    store.write(lambda t: runs.begin(t.connection, "20260101-000000-aaaa", ["care"], NOW - HOUR))
    run(store, settings_for(care=care))
    with store.connect() as connection:
        newest, before = runs.last(connection, ["care"], 2)["care"]
    assert (newest.result, before.result, before.took) == ("ok", "cut-off", None)


def test_after_a_kill_the_next_run_says_so_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, store_path: str, care: Ehr
) -> None:
    config = written(tmp_path, store_path, care)
    care.delay = 0.2
    killed = programs.start(
        "fhir_coprod", "--config", str(config), "sync", "--quiet", stderr=programs.DEVNULL
    )
    with Store.open(store_path) as store:

        def newest() -> runs.Run | None:
            with store.connect() as connection:
                return next(iter(runs.last(connection, ["care"])["care"]), None)

        deadline = time.monotonic() + 60
        while newest() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed.kill()
        assert killed.wait(60) < 0
        began = newest()
        assert began is not None
        assert (began.result, began.took) == ("running", None)
        care.delay = 0
        assert coprod(config, "sync").exit_code == 0
        with store.connect() as connection:
            after, before = runs.last(connection, ["care"], 2)["care"]
    assert (after.result, after.read, before.run, before.result) == ("ok", 3, began.run, "cut-off")


def test_only_the_last_runs_of_an_ehr_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "KEPT", 3)
    for number in range(5):
        at = NOW + number * HOUR
        store.write(lambda t, n=number, at=at: runs.begin(t.connection, f"2026-{n}", ["care"], at))
        store.write(lambda t, n=number, at=at: runs.end(t.connection, f"2026-{n}", [EhrReport("care")], at))
    with store.connect() as connection:
        assert [one.run for one in runs.last(connection, ["care"], 9)["care"]] == [
            "2026-4",
            "2026-3",
            "2026-2",
        ]

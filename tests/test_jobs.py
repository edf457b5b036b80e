"""`worker` and `serve` watch by themselves: through kills, side by side, and until they are told to stop."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from fhir_coprod import jobs
from fhir_coprod.settings import EhrSettings, Settings, SyncSettings
from fhir_coprod.store import Store
from fhir_coprod.sync import hours, pauses, runs
from tests import programs
from tests.programs import Program
from tests.sync.records import patient
from tests.sync.server import Ehr, serving
from tests.watch.hospital import DAY, Hospital

pytestmark = pytest.mark.long

PATIENCE = 60.0
"""Seconds; a busy machine takes several to load a program."""


class Place:
    """A store that programs and the test share."""

    def __init__(self, folder: Path, url: str) -> None:
        self.config = folder / "coprod.toml"
        self.config.write_text(f'[store]\nurl = "{url}"\n')
        self.store = Store.open(url)
        self.hospital = Hospital(self.store)
        self.running: list[Program] = []
        self.folder = folder

    def start(self, *command: str) -> Program:
        with (self.folder / f"log-{len(self.running)}").open("w") as log:
            process = programs.start(
                *("fhir_coprod", "--config", str(self.config), *command), stdout=programs.PIPE, stderr=log
            )
        self.running.append(process)
        return process

    def log(self, number: int = 0) -> str:
        return (self.folder / f"log-{number}").read_text()

    def refer_long_ago(self, *ids: str) -> None:
        for id in ids:
            self.hospital.refer(id, authored=datetime.now(UTC) - 30 * DAY)

    def stalled(self) -> set[str]:
        return {issue["implicated"][0]["reference"] for issue in self.hospital.all("DetectedIssue")}


@pytest.fixture
def place(store_url: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path, store_url)
    yield made
    for process in made.running:
        process.close()
    made.store.close()


def until(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def children(process: Program) -> list[str]:
    return [
        child
        for tasks in Path(f"/proc/{process.pid}/task").iterdir()
        for child in (tasks / "children").read_text().split()
    ]


def test_a_worker_raises_alerts_for_what_is_there_and_for_what_comes(place: Place) -> None:
    place.refer_long_ago("before")
    worker = place.start("worker")
    until(lambda: place.stalled() == {"ServiceRequest/before"})
    place.refer_long_ago("after")
    until(lambda: place.stalled() == {"ServiceRequest/before", "ServiceRequest/after"})
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(PATIENCE) == 0
    assert re.search(r"found=\d+", place.log())
    assert place.log().rstrip().endswith("event='stopped'")
    assert "Patient/" not in place.log()


def test_a_worker_that_is_killed_is_replaced_by_the_one_that_stands_by(place: Place) -> None:
    first = place.start("worker")
    until(lambda: "event='watching'" in place.log(0))
    second = place.start("worker")
    until(lambda: "event='started'" in place.log(1))
    first.send_signal(signal.SIGKILL)
    first.wait(PATIENCE)
    killed = time.monotonic()
    until(lambda: "event='watching'" in place.log(1))
    assert time.monotonic() - killed < jobs.LEASE_SECONDS / 2, "it waited for the lease to run out"
    place.refer_long_ago("r")
    until(lambda: place.stalled() == {"ServiceRequest/r"})
    second.send_signal(signal.SIGINT)
    assert second.wait(PATIENCE) == 0


def test_one_that_stops_in_good_order_hands_over_at_once(place: Place) -> None:
    first = place.start("worker")
    until(lambda: "event='watching'" in place.log(0))
    place.start("worker")
    until(lambda: "event='started'" in place.log(1))
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE) == 0
    told = time.monotonic()
    until(lambda: "event='watching'" in place.log(1))
    assert time.monotonic() - told < jobs.LEASE_SECONDS


@pytest.mark.parametrize("asked", [(), ("--no-jobs",)], ids=["jobs", "no-jobs"])
def test_serve_watches_unless_told_not_to(place: Place, asked: tuple[str, ...]) -> None:
    place.refer_long_ago("r")
    serve = place.start("serve", "--port", "0", *asked)
    assert serve.stdout is not None
    listening = serve.stdout.readline()
    assert listening.startswith("listening on")
    if asked:
        assert children(serve) == []  # the jobs would be a process that is there before anybody can connect
        assert place.stalled() == set()
    else:
        assert children(serve) != []
        until(lambda: place.stalled() == {"ServiceRequest/r"})
    address = listening.removeprefix("listening on ").strip().removesuffix("/fhir")
    watched = requests.get(f"{address}/health", timeout=PATIENCE).json()["watch"]
    assert watched == ("nobody" if asked else "ok")
    assert (
        f"coprod_watched {0.0 if asked else 1.0}" in requests.get(f"{address}/metrics", timeout=PATIENCE).text
    )
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(PATIENCE) == 0


def test_jobs_end_when_the_endpoint_is_killed(place: Place) -> None:
    serve = place.start("serve", "--port", "0")
    until(lambda: "event='watching'" in place.log())
    (child,) = re.findall(r"event='started'.*process=(\d+)", place.log())
    serve.send_signal(signal.SIGKILL)
    serve.wait(PATIENCE)

    def gone() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    until(gone)


def test_jobs_that_are_killed_beside_the_endpoint_are_started_again(place: Place) -> None:
    place.start("serve", "--port", "0")
    until(lambda: "event='watching'" in place.log())
    (child,) = re.findall(r"event='started'.*process=(\d+)", place.log())
    os.kill(int(child), signal.SIGKILL)
    place.refer_long_ago("r")
    until(lambda: place.stalled() == {"ServiceRequest/r"})
    assert len(re.findall("event='started'", place.log())) == 2


def test_a_worker_without_a_store_to_open_says_why(tmp_path: Path) -> None:
    config = tmp_path / "coprod.toml"
    config.write_text('[store]\nurl = "sqlite:////proc/nowhere/store.db"\n')
    done = programs.run("fhir_coprod", "worker", "--config", str(config))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


OFTEN = Settings(
    sync=SyncSettings(every_minutes=60),
    ehr=(
        EhrSettings(name="care", url="https://care.example/fhir"),
        EhrSettings(name="ortho", url="https://ortho.example/fhir", every_minutes=1),
    ),
)


def due(store: Store, settings: Settings = OFTEN) -> list[str]:
    return store.write(lambda transaction: hours.take_due(transaction, settings, datetime.now(UTC)))


def test_a_sync_begins_once_in_a_while_whoever_asks(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url) as store, Store.open(url) as other:
        assert due(store) == ["care", "ortho"]
        assert due(store) == due(other) == []
        a_minute_ago = round(time.time()) - 61
        store.write(lambda transaction: transaction.set_cursor("sync:began:ortho", a_minute_ago))
        assert due(other) == ["ortho"]
        assert due(store) == []


def test_a_log_line_goes_to_what_stderr_is_when_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with io.StringIO() as early:
        monkeypatch.setattr(sys, "stderr", early)
        log = jobs.logger()
    late = io.StringIO()
    monkeypatch.setattr(sys, "stderr", late)
    log.info("sync ended")
    assert "event='sync ended'" in late.getvalue()


def test_a_worker_reads_each_ehr_when_it_may_and_names_its_runs_as_json(tmp_path: Path) -> None:
    """One is read, one is paused, one is outside its hours; each line of the log is a JSON object."""
    later = datetime.now(UTC) + timedelta(hours=2)
    ehrs = {name: Ehr().load(patient("p", "19700102")) for name in ("care", "paused", "night")}
    url = f"sqlite:///{tmp_path / 'coprod.db'}"
    with ExitStack() as stack:
        text = f'[store]\nurl = "{url}"\n[log]\nformat = "json"\n'
        for name, ehr in ehrs.items():
            stack.enter_context(serving(ehr))
            window = f'window = "{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"\n' * (name == "night")
            text += f'[[ehr]]\nname = "{name}"\nurl = "{ehr.url}"\ntypes = ["Patient"]\n{window}'
        (tmp_path / "coprod.toml").write_text(text)
        store = stack.enter_context(Store.open(url))
        pauses.pause(store, "paused", None, "upgrade", datetime.now(UTC))
        with (tmp_path / "log").open("w") as log:
            worker = programs.start(
                "fhir_coprod", "--config", str(tmp_path / "coprod.toml"), "worker", stderr=log
            )
        stack.callback(worker.close)

        def lines() -> list[dict[str, Any]]:
            return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]

        until(lambda: any(line["event"] == "synced" for line in lines()))
        worker.terminate()
        assert worker.wait(PATIENCE) == 0
        with store.connect() as connection:
            (kept,) = runs.last(connection, ["care"])["care"]
    (synced,) = [line for line in lines() if line["event"] == "synced"]
    assert (synced["ehr"], synced["run"], synced["created"]) == ("care", kept.run, 1)
    assert ehrs["paused"].requests == ehrs["night"].requests == []

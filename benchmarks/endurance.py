"""`python -m benchmarks.endurance`: an hour of mixed load, and what grows meanwhile.

`serve` with its workers and jobs stands on a store of a few thousand records, and 48 clients do all that
callers do, at a steady rate that leaves the machine room. Every few seconds each process is looked at: its
memory, descriptors and threads; the clients note how long each answer took. In the end a burst as fast as it
goes, and a rest, show what memory comes back. A page with pictures and a verdict is written to docs/, also
when the run is stopped before its time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks import endurance_page as page
from benchmarks import tiny
from benchmarks.endurance_clients import Clients, Tally
from benchmarks.endurance_measures import database_processes, look, percentile, server_processes, trends
from benchmarks.sample import population
from fhir_coprod.files.finding import find
from fhir_coprod.store import Store, loading
from tests.peers import postgresql
from tests.peers.shared import Run

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent / "docs"
PATIENTS = 500
EVERY = 5.0
"""Seconds between two looks at the processes."""
BURST = 30.0
"""Seconds as fast as it goes, at the end."""
REST = 60.0
"""Seconds of silence after that."""
SETTLE = 20.0
"""Seconds before the load: by then the watch has looked at what is there."""


@dataclass
class Results:
    """What was seen, as the page needs it; every list has one entry for each time.

    seconds:  when, counted from the beginning of the load; negative before that
    memory:   process → MB that it shares with nobody
    rss:      process → MB in memory
    latency:  kind → [median, 99th percentile] in milliseconds of the answers since the time before
    """

    setting: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)
    memory: dict[str, list[float | None]] = field(default_factory=dict)
    rss: dict[str, list[float | None]] = field(default_factory=dict)
    descriptors: dict[str, list[int | None]] = field(default_factory=dict)
    threads: dict[str, list[int | None]] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    latency: dict[str, list[list[float] | None]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)
    """kind → [answers, median, 99th percentile, longest] over the steady load"""
    statuses: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    replaced: int = 0
    """How often one of the processes was another than before."""

    @classmethod
    def read(cls, path: Path) -> Self:
        given = json.loads(path.read_text())
        for name in ("statuses", "unexpected"):
            given[name] = Counter(given[name])
        return cls(**given)

    def write(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(vars(self)) + "\n")
        part.replace(path)


class Sampler:
    """Looks at the processes of one server, and at what the clients have seen since the last look."""

    def __init__(
        self, results: Results, server: int, log: Path, postmaster: int | None, tally: Tally
    ) -> None:
        self.results = results
        self._server = server
        self._log = log
        self._postmaster = postmaster
        self._tally = tally
        self._begin: float | None = None
        self._known: dict[str, int] = {}
        self._steady: dict[str, list[float]] = {}

    def begin(self) -> None:
        """From now on time counts."""
        self._begin = time.monotonic()

    def sample(self, phase: str) -> None:
        results = self.results
        now = time.monotonic()
        results.seconds.append(round(now - (self._begin or now), 1) if self._begin else -SETTLE)
        results.phases.append(phase)
        jobs = {int(number) for number in re.findall(r"'started'.*process=(\d+)", self._log.read_text())}
        processes = server_processes(self._server, jobs)
        results.replaced += sum(self._known.get(name, number) != number for name, number in processes.items())
        self._known = processes
        seen = {name: look(number) for name, number in processes.items()}
        if self._postmaster is not None:
            seen["PostgreSQL, all"] = database_processes(self._postmaster)
        for name in seen.keys() | results.memory.keys():
            one = seen.get(name)
            self._add(results.memory, name, None if one is None else round(one.uss, 2))
            self._add(results.rss, name, None if one is None else round(one.rss, 2))
            self._add(results.descriptors, name, None if one is None else one.descriptors)
            self._add(results.threads, name, None if one is None else one.threads)
        self._answers(phase)

    def _answers(self, phase: str) -> None:
        results = self.results
        seconds, statuses, unexpected = self._tally.take()
        results.statuses += statuses
        if phase == "burst":  # then the server may say that it has too much to do
            unexpected = Counter({what: n for what, n in unexpected.items() if not what.endswith(": 503")})
        results.unexpected += unexpected
        results.answers.append(sum(statuses.values()))
        for kind in seconds.keys() | results.latency.keys():
            some = [1000 * value for value in seconds.get(kind, ())]
            both = [round(percentile(some, share), 2) for share in (0.5, 0.99)] if some else None
            self._add(results.latency, kind, both)
            if phase == "load":
                kept = self._steady.setdefault(kind, [])
                kept += some
                results.whole[kind] = [
                    len(kept),
                    *(round(percentile(kept, share), 2) for share in (0.5, 0.99, 1.0)),
                ]

    def _add(self, lists: dict[str, list[Any]], name: str, value: Any) -> None:
        """Append; a process or kind that was not there before gets a list of its own."""
        known = lists.setdefault(name, [None] * (len(self.results.seconds) - 1))
        known.append(value)


# ------------------------------------------------------------------------------------------------- the run


@contextmanager
def _database(name: str, folder: Path) -> Iterator[tuple[str, int | None]]:
    """URL of an empty database of its own, and the process of its server."""
    if name == "SQLite":
        yield f"sqlite:///{folder / 'endurance.db'}", None
        return
    run = Run.begin()
    try:
        admin = postgresql.start(run, durable=True, more=("shared_buffers=256MB",))["url"]
        postmaster = int((run.folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        yield postgresql.new_database(admin), postmaster
    finally:
        run.finish()


def _fill(url: str, folder: Path, patients: int) -> None:
    file = folder / "records.ndjson"
    file.write_bytes(b"\n".join(population(patients)))
    with Store.open(url) as store:
        assert not loading.load(store, find([file])).dead
    file.unlink()


@contextmanager
def _serving(url: str, folder: Path, workers: int) -> Iterator[tuple[str, int, Path]]:
    """The base of a server, its process, and its log."""
    log = folder / "serve.log"
    command = [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0"]
    command += ["--workers", str(workers)] if workers > 1 else []
    with log.open("w") as err:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            env={**os.environ, "COPROD_STORE__URL": url},
            cwd=folder,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"the server did not start:\n{log.read_text()}")
        base = line.removeprefix("listening on ").strip()
        _until_healthy(base)
        yield base, process.pid, log
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def _until_healthy(base: str) -> None:
    for _ in range(300):
        with suppress(OSError), urllib.request.urlopen(f"{base.rsplit('/', 1)[0]}/health", timeout=5):
            return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


class Stopped(Exception):
    """Somebody wants the run to end now."""


def measure(
    chosen: argparse.Namespace, kept: Path, stop: threading.Event, say: Callable[[str], None]
) -> Results:
    """The whole run; what was seen so far is kept in a file all the time."""
    results = Results(setting={**_setting(chosen), "begun": time.strftime("%-d %B %Y")})
    tally = Tally()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coprod-endurance-")))
        url, postmaster = stack.enter_context(_database(chosen.database, folder))
        say(f"filling: {PATIENTS} patients with nine records each")
        _fill(url, folder, PATIENTS)
        base, server, log = stack.enter_context(_serving(url, folder, chosen.workers))
        sampler = Sampler(results, server, log, postmaster, tally)

        def during(phase: str, seconds: float) -> None:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if stop.wait(min(EVERY, max(0.05, deadline - time.monotonic()))):
                    raise Stopped
                sampler.sample(phase)
                results.write(kept)
                say(_progress(results, phase, deadline))

        try:
            sampler.sample("start")
            stop.wait(SETTLE)
            sampler.begin()
            sampler.sample("start")
            clients = Clients("load", base, chosen.clients, chosen.rate, PATIENTS, tally)
            try:
                during("load", chosen.minutes * 60)
            finally:
                clients.stop()
            clients = Clients("burst", base, chosen.clients, 10_000, PATIENTS, tally)
            try:
                during("burst", BURST)
            finally:
                clients.stop()
            during("rest", REST)
        except Stopped:
            say("stopped before its time; the page says what was seen until now")
        results.setting["log"] = _told(log.read_text())
        results.write(kept)
    return results


def _setting(chosen: argparse.Namespace) -> dict[str, Any]:
    return {
        "database": chosen.database,
        "minutes": chosen.minutes,
        "clients": chosen.clients,
        "workers": chosen.workers,
        "rate": chosen.rate,
        "patients": PATIENTS,
        "note": chosen.note,
    }


def _told(log: str) -> dict[str, int]:
    """How many lines of the log were warnings or worse; no line of them is kept."""
    return {
        word: len(re.findall(pattern, log))
        for word, pattern in (("errors", r"level='error'|ERROR"), ("tracebacks", "Traceback"))
    }


def _progress(results: Results, phase: str, deadline: float) -> str:
    sizes = ", ".join(
        f"{name} {values[-1]:.0f}"
        for name, values in sorted(results.memory.items())
        if values[-1] is not None
    )
    rate = results.answers[-1] / EVERY
    left = max(0, deadline - time.monotonic())
    return (
        f"{results.seconds[-1]:6.0f} s  {phase}, {left:.0f} s left: {rate:.0f} answers/s,"
        f" {sum(results.unexpected.values())} unexpected; MB: {sizes}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="of steady load (default 60)")
    parser.add_argument("--clients", type=int, default=48, help="(default 48)")
    parser.add_argument("--workers", type=int, default=2, help="of serve; 1 on SQLite (default 2)")
    parser.add_argument("--rate", type=float, default=60, help="requests in a second, of all (default 60)")
    parser.add_argument("--database", choices=("PostgreSQL", "SQLite"), default="PostgreSQL")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of endurance.md, endurance.svg")
    parser.add_argument("--note", default="", help="what a reader of the page must know of the run")
    parser.add_argument("--render", action="store_true", help="only page and picture, from what was measured")
    parser.add_argument("--tiny", action="store_true", help="in seconds, kept nowhere: does it run?")
    chosen = parser.parse_args()
    if chosen.database == "SQLite":
        chosen.workers = 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if chosen.tiny:
        tiny.shrink("endurance", globals())
        chosen.minutes = 0.1
        with tempfile.TemporaryDirectory(prefix="coprod-endurance-") as name:
            return _run(chosen, Path(name) / "endurance.json", Path(name), stop)
    return _run(chosen, FOLDER / "results" / "endurance.json", chosen.out, stop)


def _run(chosen: argparse.Namespace, kept: Path, out: Path, stop: threading.Event) -> int:
    if chosen.database == "PostgreSQL" and postgresql.PEER.find() is None:
        print(f"PostgreSQL is missing: {postgresql.PEER.install}", file=sys.stderr)
        return 1

    def say(line: str) -> None:
        print(line, flush=True)

    results = Results.read(kept) if chosen.render else measure(chosen, kept, stop, say)
    if not results.whole:
        say("nothing was measured")
        return 1
    out.mkdir(parents=True, exist_ok=True)
    found = trends(*page.under_load(results))
    page.draw(results, out / "endurance.svg")
    (out / "endurance.md").write_text(page.text(results, found))
    for name, one in sorted(found.items()):
        say(f"{name}: {page.in_words(one)}")
    for what, count in results.unexpected.most_common(10):
        say(f"unexpected: {what}, {count} times")
    grown = any(one and one.verdict == "grows" for name, one in found.items() if name != page.DATABASE)
    return 1 if (grown or results.unexpected) and not chosen.tiny else 0


if __name__ == "__main__":
    sys.exit(main())

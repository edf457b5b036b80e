"""Measures how long a create over HTTP takes while a sync runs, compared with no sync, in the same run.

`python -m benchmarks.during_sync [--records 20000] [--rate 50] [--database SQLite]`

There are four processes: our endpoint, a sync on the same database, a server to sync from that uses almost no
processor time (`pages.py`), and this one. It sends creates at a steady rate and measures each from the moment
it was due until its answer.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.endpoint import environment
from benchmarks.growth import store_url
from benchmarks.load import serving
from benchmarks.pages import pages_of
from benchmarks.sample import PATIENT, care_plan_bytes
from fhir_coprod import jsontext
from fhir_coprod.store import Query, Store
from tests.peers import postgresql

AT_MOST = 2.0
"""How many times as long as without a sync we promise that it takes at most, at the 99th percentile."""
SENDERS = 8
"""Connections that send creates."""
CALM = 10.0
"""Seconds to measure without a sync, both before and after it."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.during_sync", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="synced meanwhile (default 20000)")
    parser.add_argument("--rate", type=float, default=50, help="creates in a second (default 50)")
    parser.add_argument("--calm", type=float, default=CALM, help="seconds before and after (default 10)")
    parser.add_argument("--database", choices=("SQLite", "PostgreSQL"), help="only this one")
    parser.add_argument("--tiny", action="store_true", help="in seconds, only to see that it runs")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.records, arguments.calm = 400, 1.0
    is_kept = True
    for database in [arguments.database] if arguments.database else ["SQLite", "PostgreSQL"]:
        if database == "PostgreSQL" and postgresql.PEER.find() is None:
            print(f"left out: PostgreSQL ({postgresql.PEER.install})", file=sys.stderr)
            continue
        is_kept &= _measured(database, arguments.records, arguments.rate, arguments.calm)
    return 0 if is_kept or arguments.tiny else 1


def _measured(database: str, records: int, rate: float, calm: float) -> bool:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coprod-bench-")))
        url = stack.enter_context(store_url(database, folder))
        with Store.open(url) as store:
            store.write(lambda t: t.put(jsontext.from_data(PATIENT), "bench"))
        ehr = stack.enter_context(pages_of(records))
        settings = folder / "coprod.toml"
        settings.write_text(
            f'[store]\nurl = "{url}"\n[[ehr]]\nname = "bench"\nurl = "{ehr}"\nrequests_per_second = 1000\n'
        )
        command = [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0", "--no-jobs"]
        base = stack.enter_context(serving(command, env=environment(url)))
        _creates(base, rate, _for_seconds(2))  # warm up: some things load once per process
        before = _creates(base, rate, _for_seconds(calm))
        sync = subprocess.Popen(
            [sys.executable, "-m", "fhir_coprod", "sync", "--config", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begin = time.perf_counter()
        during = _creates(base, rate, lambda: sync.poll() is None)
        took = time.perf_counter() - begin
        if sync.returncode:
            raise RuntimeError(f"the sync ended with {sync.returncode}")
        after = _creates(base, rate, _for_seconds(calm))
        with Store.open(url) as store:
            found = store.search(Query.parse("Task", [("_summary", "count")])).total
        if found != records // 10 * 3:
            raise RuntimeError(f"{found} Tasks of {records // 10 * 3} have arrived")
    without = before + after
    ratio = _percentile(during, 99) / _percentile(without, 99)
    print(f"{database}, {rate:.0f} creates a second; {records:,} records synced in {took:.1f} s")
    print(f"  without a sync: {_said(without)}")
    print(f"  during a sync:  {_said(during)}")
    print(f"  at the 99th percentile {ratio:.2f} times as long (promised: {AT_MOST:.0f})", flush=True)
    return ratio <= AT_MOST


def _for_seconds(seconds: float) -> Callable[[], bool]:
    deadline = time.perf_counter() + seconds
    return lambda: time.perf_counter() < deadline


def _creates(base: str, rate: float, goes_on: Callable[[], bool]) -> list[float]:
    """Send creates while `goes_on()`; returns the seconds from when each was due until its answer."""
    taken: list[float] = []
    number = 0
    turn = threading.Lock()
    begin = time.perf_counter() + 0.1
    parts = urlsplit(base)

    def send(_: int) -> None:
        nonlocal number
        http = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        while True:
            with turn:
                if not goes_on():
                    return
                own, number = number, number + 1
            due = begin + own / rate
            time.sleep(max(due - time.perf_counter(), 0))
            body = care_plan_bytes(own)
            http.request("POST", f"{parts.path}/CarePlan", body, {"content-type": "application/fhir+json"})
            answer = http.getresponse()
            said = answer.read()
            if answer.status != 201:
                raise RuntimeError(f"{answer.status}: {said[:300]!r}")
            taken.append(time.perf_counter() - due)

    with ThreadPoolExecutor(SENDERS) as pool:
        for done in [pool.submit(send, sender) for sender in range(SENDERS)]:
            done.result()
    return taken


def _percentile(seconds: list[float], of: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[of - 1] * 1e3


def _said(taken: list[float]) -> str:
    p50, p99 = _percentile(taken, 50), _percentile(taken, 99)
    return f"median {p50:.1f} ms, 99th percentile {p99:.1f} ms of {len(taken):,} creates"


if __name__ == "__main__":
    sys.exit(main())

"""Measures the processor time of a first sync, compared with a bare loop that parses the same pages' JSON.

`python -m benchmarks.sync_cost [--records 20000]`

The server runs in a process of its own and uses almost no processor time (`pages.py`). Only the process that
syncs is measured; it includes the database, since SQLite runs in the same process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from benchmarks.pages import PAGE, pages_of, types_of
from fhir_coprod.settings import EhrSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run

WARM = 100
"""Records synced before anything is measured."""
AT_MOST = 20.0
"""Times the bare loop; what is promised."""
TINY = 400
"""Records with `--tiny`."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync_cost", description=__doc__)
    parser.add_argument("--records", type=int, default=20_000, help="how many (default 20000)")
    parser.add_argument("--tiny", action="store_true", help="in seconds, only to see that it runs")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.records = TINY
    with (
        pages_of(WARM) as few,
        pages_of(arguments.records) as url,
        tempfile.TemporaryDirectory(prefix="coprod-bench-") as folder,
    ):
        _synced(few, Path(folder) / "warm.db", WARM)  # warm up: some things load once per process
        bare = min(_seconds(lambda: paged(url, arguments.records)) for _ in range(3))
        ours = _seconds(lambda: _synced(url, Path(folder) / "sync.db", arguments.records))
        again = _seconds(lambda: _synced(url, Path(folder) / "sync.db", arguments.records))
    per = 1e6 / arguments.records
    print(f"bare paging with JSON parsing: {bare * per:,.0f} µs of processor time per record")
    print(f"first sync: {ours * per:,.0f} µs per record, {ours / bare:.1f} times (promised: {AT_MOST:.0f})")
    print(f"full sync, nothing changed: {again * per:,.0f} µs per record, {again / bare:.1f} times")
    return 0 if arguments.tiny or ours <= AT_MOST * bare else 1


def _seconds(work: Callable[[], None]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def paged(url: str, expected: int) -> None:
    """Page through all records and parse their JSON."""
    read = 0
    with httpx.Client(timeout=60) as http:
        for type in types_of(expected):
            page: str | None = f"{url}/{type}?_count={PAGE}"
            while page:
                bundle = http.get(page).raise_for_status().json()
                read += len(bundle["entry"])
                page = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    assert read == expected, read


def _synced(url: str, file: Path, expected: int) -> None:
    store_url = f"sqlite:///{file}"
    ehr = EhrSettings(name="bench", url=url, requests_per_second=1000)
    with Store.open(store_url) as store:
        (report,) = run(store, Settings(store=StoreSettings(url=store_url), ehr=(ehr,)), full=True)
    read = sum(counts.read for counts in report.counts.values())
    if not report.ok or read != expected:
        raise RuntimeError(f"read {read} of {expected} records: {report.to_json()}")


if __name__ == "__main__":
    sys.exit(main())

"""Measures syncs of more and more records: time, requests and memory, first and when there is nothing new.

`python -m benchmarks.sync_scale [--database SQLite]`

The EHR is a server that uses almost no processor time (`pages.py`), in a process of its own. The sync is
`fhir-coprod sync`, as a night would run it. Beside it, in the same run, a bare loop pages through the same
server and parses the JSON. docs/sync-scale.md is written from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.growth import store_url
from benchmarks.pages import pages_of, requests_of
from benchmarks.sync_cost import paged
from tests.peers import postgresql

DOCS = Path(__file__).parent.parent / "docs" / "sync-scale.md"
SIZES = (10_000, 100_000, 1_000_000)
PROMISED_RATE = 3_000
"""Records in a second of processor time, at least, in a first sync."""
PROMISED_MEMORY = 300
"""MB, at most, whatever there is to sync."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: seconds on the clock and of the processor, most memory of its own in MB, and requests.

    A file that SQLite maps into memory is not its own: the system takes that back when it needs it.
    """

    wall: float
    processor: float
    memory: float
    requests: int


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured with so many records on one database."""

    database: str
    records: int
    bare: float
    """Seconds of processor time in which a bare loop pages through the same server."""
    first: Ran
    whole: Ran
    """The second run, which looks at everything once more: the first may have missed what moved meanwhile."""
    new: Ran
    """The third run, which asks for what is new, and there is nothing."""

    @property
    def rate(self) -> float:
        """Records in a second of processor time, in the first sync."""
        return self.records / self.first.processor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync_scale", description=__doc__)
    parser.add_argument("--database", choices=("SQLite", "PostgreSQL"), help="only this one")
    parser.add_argument("--tiny", action="store_true", help="in seconds, only to see that it runs")
    arguments = parser.parse_args()
    if arguments.tiny:
        from benchmarks import tiny

        tiny.shrink("sync_scale", globals())
    rows: list[Row] = []
    for database in [arguments.database] if arguments.database else ["SQLite", "PostgreSQL"]:
        if database == "PostgreSQL" and postgresql.PEER.find() is None:
            print(f"left out: PostgreSQL ({postgresql.PEER.install})", file=sys.stderr)
            continue
        for records in SIZES:
            rows.append(_measured(database, records))
            print(_line(rows[-1]), flush=True)
    if arguments.tiny:
        return 0
    if not arguments.database:
        DOCS.write_text(page(rows))
    kept = [row.rate >= PROMISED_RATE and _memory(row) <= PROMISED_MEMORY for row in rows]
    return 0 if all(kept) else 1


def _memory(row: Row) -> float:
    return max(row.first.memory, row.whole.memory, row.new.memory)


def _measured(database: str, records: int) -> Row:
    with ExitStack() as stack:
        url = stack.enter_context(pages_of(records))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coprod-bench-")))
        store = stack.enter_context(store_url(database, folder))
        config = folder / "coprod.toml"
        config.write_text(
            f'[store]\nurl = "{store}"\n[[ehr]]\nname = "bench"\nurl = "{url}"\nrequests_per_second = 1000\n'
        )
        begin = time.process_time()
        paged(url, records)
        bare = time.process_time() - begin
        runs = [_sync(config, url, expected) for expected in (records, 0, 0)]
        return Row(database, records, bare, *runs)


def _sync(config: Path, url: str, expected: int) -> Ran:
    """One `fhir-coprod sync` that creates so many records."""
    asked, begin = requests_of(url), time.monotonic()
    command = [sys.executable, "-m", "fhir_coprod", "--config", str(config), "sync", "--json"]
    with _out() as (out, log):
        process = subprocess.Popen(command, stdout=out, stderr=log)
        memory = 0.0
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            memory = max(memory, _own_memory(process.pid))
            time.sleep(0.05)  # between two looks at its memory
        _, status, used = ended
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - begin
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"the sync ended with {process.returncode}: {log.read().decode()[-2000:]}")
        out.seek(0)
        (report,) = json.load(out)
    created = sum(counts["created"] for counts in report["types"].values())
    if created != expected:
        raise RuntimeError(f"{created} records were created, not {expected}")
    processor = used.ru_utime + used.ru_stime
    return Ran(wall, processor, memory, requests_of(url) - asked)


def _own_memory(process: int) -> float:
    """Megabytes that are in memory and in no file; 0 if the process has just ended."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


@contextmanager
def _out() -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        yield out, log


# --- the page -------------------------------------------------------------------------------------


def _line(row: Row) -> str:
    return (
        f"{row.database}, {row.records:,} records: first {row.first.wall:,.0f} s, {row.rate:,.0f} a second "
        f"of processor time ({row.first.processor / row.bare:.1f} × bare paging), {row.first.memory:.0f} MB; "
        f"whole again: {row.whole.wall:,.0f} s, {row.whole.memory:.0f} MB; "
        f"nothing new: {row.new.wall:.1f} s, {row.new.requests} requests, {row.new.memory:.0f} MB"
    )


def page(rows: list[Row]) -> str:
    """The results as Markdown."""
    lines = [
        "# How a sync grows",
        "",
        "Written by `python -m benchmarks.sync_scale`: `fhir-coprod sync` into an empty store from a server",
        "that uses almost no processor time; then the second run, which looks at everything once more, and",
        "the third, which asks for what is new. Patients, referrals, tasks and care plans, one in ten a",
        "patient, found by `_lastUpdated`. *Bare paging* reads the same pages and parses their JSON.",
        "Records/s are those of a second of processor time of the sync alone: with SQLite the database is in",
        "it, with PostgreSQL it is not. MB are those of its own memory: files that SQLite maps into it are",
        "left out, since the system takes them back.",
        f"Promised: {PROMISED_RATE:,} records in such a second, and at most {PROMISED_MEMORY} MB.",
        "",
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}.",
        "",
        "| database | records | first: time | records/s | × bare paging | MB | requests | whole again: time "
        "| MB | nothing new: time | MB | requests |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        first, whole, new = row.first, row.whole, row.new
        lines.append(
            f"| {row.database} | {row.records:,} | {first.wall:,.0f} s | {row.rate:,.0f} "
            f"| {first.processor / row.bare:.1f} | {first.memory:.0f} | {first.requests:,} "
            f"| {whole.wall:,.0f} s | {whole.memory:.0f} "
            f"| {new.wall:.1f} s | {new.memory:.0f} | {new.requests:,} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

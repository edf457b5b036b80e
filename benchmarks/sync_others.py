"""Reads the same records from the same server with a sync, with smart-fetch and with a fhirpy loop.

`python -m benchmarks.sync_others [--patients 1000] [--faults 0.02]`

Each is run once from a server that is well, and once from one at which a share of the addresses fails at the
first request: 429, 503, half an answer, a closed connection. smart-fetch and fhirpy write what they read into
files; a sync also validates, links and indexes it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import pages_of, requests_of
from fhir_coprod.store import Query, Store
from tests.peers import smart_fetch

TYPES = ("Patient", "ServiceRequest")
"""smart-fetch reads neither plans nor tasks."""
PATIENCE = 600.0
"""Seconds after which a program is stopped."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a program brought: seconds on the clock and of the processor, requests, records, how it ended."""

    seconds: float
    processor: float
    requests: int
    records: int
    end: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync_others", description=__doc__)
    parser.add_argument("--patients", type=int, default=1000, help="each with three referrals (default 1000)")
    parser.add_argument("--faults", type=float, default=0.02, help="share of addresses that fail once")
    parser.add_argument("--tiny", action="store_true", help="in seconds, only to see that it runs")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.patients = 20
    complete = True
    for faults in (0.0, arguments.faults):
        print(f"{arguments.patients * 4:,} records of a server of which {faults:.0%} fails once:")
        for name, reader in READERS.items():
            if reader is _smart_fetch and smart_fetch.PEER.find() is None:
                print(f"  left out: {name} ({smart_fetch.PEER.install})")
                continue
            if reader is _smart_fetch and faults and arguments.tiny:
                continue  # its first pause is a minute
            with pages_of(arguments.patients * 10, faults) as url:
                read = reader(url, arguments.patients)
            print(
                f"  {name}: {read.records:,} records, {read.requests:,} requests, {read.seconds:.1f} s "
                f"({read.processor:.1f} s of the processor), {read.end}",
                flush=True,
            )
            complete &= reader is not _ours or read.records == arguments.patients * 4
    return 0 if complete else 1


def _ours(url: str, patients: int) -> Read:
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as name:
        folder = Path(name)
        store, config = f"sqlite:///{folder / 'sync.db'}", folder / "coprod.toml"
        config.write_text(
            f'[store]\nurl = "{store}"\n[[ehr]]\nname = "bench"\nurl = "{url}"\nrequests_per_second = 1000\n'
            f"types = {json.dumps(TYPES)}\n"
        )
        command = [sys.executable, "-m", "fhir_coprod", "--config", str(config), "sync", "--json"]
        return _run(url, command, lambda: _stored(store))


def _stored(url: str) -> int:
    with Store.open(url) as store:
        return sum(store.search(Query((type,), count=0, total="accurate")).total or 0 for type in TYPES)


def _fhirpy(url: str, patients: int) -> Read:
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as name:
        command = [sys.executable, "-m", "benchmarks.fhirpy_loop", url, name, *TYPES]
        return _run(url, command, lambda: _in_files(Path(name)))


def _smart_fetch(url: str, patients: int) -> Read:
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as name:
        folder = Path(name)
        ids = folder / "ids.txt"
        ids.write_text("".join(f"p{number}\n" for number in range(patients)))
        command = [str(smart_fetch.PROGRAM), "export", "--export-mode=crawl", f"--fhir-url={url}"]
        command += [f"--id-file={ids}", f"--type={','.join(TYPES)}", "--hydration-tasks=none"]
        return _run(url, [*command, str(folder / "out")], lambda: _in_files(folder / "out"))


def _in_files(folder: Path) -> int:
    """How many different records of those types there are in a folder."""
    found = set()
    for file in folder.rglob("*.ndjson*"):
        with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
            for line in lines:
                record = json.loads(line)
                found.add((record.get("resourceType"), record.get("id")))
    return sum(type in TYPES for type, _ in found)


def _run(url: str, command: Sequence[str], records: Callable[[], int]) -> Read:
    asked, begin, before = requests_of(url), time.monotonic(), os.times()
    with tempfile.TemporaryFile() as out:
        try:
            code = subprocess.run(command, check=False, stdout=out, stderr=out, timeout=PATIENCE).returncode
            end = f"exit code {code}"
        except subprocess.TimeoutExpired:
            end = f"stopped after {PATIENCE:.0f} s"
    seconds, after = time.monotonic() - begin, os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    return Read(seconds, processor, requests_of(url) - asked, records(), end)


READERS = {
    "fhir-coprod sync": _ours,
    "fhirpy in a loop": _fhirpy,
    "smart-fetch, by patient": _smart_fetch,
}


if __name__ == "__main__":
    sys.exit(main())

"""Measures a first sync of one EHR into an empty store, against paging through the same server."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx

from benchmarks import references
from benchmarks.endpoint import endpoint
from benchmarks.frame import Pair
from benchmarks.sample import hospital
from benchmarks.watch import fill
from fhir_coprod.settings import EhrSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.peers import servers
from tests.peers.shared import Run

COPIES = 12
"""How many copies of the demo's hospital the server holds."""
PAGE = 100
"""_count, the same as a sync asks for."""


def pairs() -> Iterator[Pair]:
    records = hospital(COPIES, datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as name:
        folder = Path(name)
        with _peers(folder, records) as found:
            for peer, url, held in found:
                types = Counter(json.loads(raw)["resourceType"] for raw in held)
                yield Pair(
                    f"first sync of {len(held):,} records from {peer}",
                    "records",
                    _syncing(folder, url, len(held)),
                    "its own paging speed",
                    _paging(url, list(types)),
                )


@contextmanager
def _peers(folder: Path, records: list[bytes]) -> Iterator[list[tuple[str, str, list[bytes]]]]:
    """(what it is, base URL, its records) of each available server: our own, and the peers installed."""
    with Store.open(f"sqlite:///{folder / 'ehr.db'}") as store:
        fill(store, records)
    peer_run = Run.begin()
    try:
        with endpoint(f"sqlite:///{folder / 'ehr.db'}") as own:
            found = [("our own endpoint", own, records)]
            if references.SLOW_TO_START and servers.HAPI.find() is not None:
                url = servers.new_hapi_partition(servers.start_hapi(peer_run)["url"])
                _fill_by_transaction(url, records)
                found.append(("HAPI FHIR", url, records))
            if servers.MEDPLUM.find() is not None:
                # Its search is a linear scan: keep it under 500 records.
                few = [raw for raw in records if re.search(rb'"id":"..-[0-3]-', raw)]
                url = servers.new_medplum_repository(servers.start_medplum(peer_run)["url"])
                _fill_one_by_one(url, few)
                found.append(("the Medplum router", url, few))
            yield found
    finally:
        peer_run.finish()


def _syncing(folder: Path, url: str, expected: int) -> Callable[[], int]:
    ehr = EhrSettings(name="bench", url=url, requests_per_second=1000)

    def work() -> int:
        store_url = f"sqlite:///{folder / uuid4().hex}.db"
        settings = Settings(store=StoreSettings(url=store_url), ehr=(ehr,))
        with Store.open(store_url) as store:
            (report,) = run(store, settings)
        read = sum(counts.read for counts in report.counts.values())
        if read != expected or not report.ok:
            raise RuntimeError(f"read {read} of {expected} records: {report.to_json()}")
        return read

    return work


def _paging(url: str, types: Sequence[str]) -> Callable[[], int]:
    def work() -> int:
        read = 0
        with httpx.Client(timeout=60, headers={"cache-control": "no-cache"}) as http:
            for type in types:
                page: str | None = f"{url}/{type}?_count={PAGE}"
                while page:
                    bundle = http.get(page).raise_for_status().json()
                    read += len(bundle.get("entry", ()))
                    page = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        return read

    return work


def _fill_by_transaction(url: str, records: list[bytes]) -> None:
    entries = []
    for raw in records:
        resource = json.loads(raw)
        place = f"{resource['resourceType']}/{resource['id']}"
        entries.append({"resource": resource, "request": {"method": "PUT", "url": place}})
    with httpx.Client(timeout=300, headers={"content-type": "application/fhir+json"}) as http:
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        http.post(url, content=json.dumps(bundle)).raise_for_status()


def _fill_one_by_one(url: str, records: list[bytes]) -> None:
    with httpx.Client(timeout=60, headers={"content-type": "application/fhir+json"}) as http:
        for raw in records:
            resource = json.loads(raw)
            http.put(f"{url}/{resource['resourceType']}/{resource['id']}", content=raw).raise_for_status()

"""Measures the FHIR endpoint over HTTP: one server process per database, on a store full of records.

It is compared, with the same records and the same requests, with HAPI FHIR on the same PostgreSQL server (in
its standard setup: it does not validate what it is sent), with fhirstarter, which validates and stores
nothing, and with a bare Starlette route, which does nothing at all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from benchmarks import references
from benchmarks.frame import Pair, Result, Work
from benchmarks.load import CONNECTIONS, bare_starlette, request, send_all, serving
from benchmarks.meter import Meter
from benchmarks.sample import REFERRED_TO, care_plan_bytes, family, population, referral
from tests.peers import postgresql
from tests.peers.shared import Run

READS = 8_000
CREATES = 1_500
SEARCHES = 600
TRANSACTIONS = 30
IN_ONE = 99
"""Resources in a transaction to HAPI: those of eleven patients, so that no reference leads to a later one."""
HAPI_SHARE = 8
"""HAPI gets so many times fewer requests, so that a turn of either takes about a second."""
NO_CACHE = "cache-control: no-cache\r\n"
"""HAPI would answer a search that it has seen in the last minute from its earlier result."""

_numbers = count(10_000_000)


@dataclass(frozen=True, slots=True)
class Server:
    """A server with the records, which were written between `begin` and `end`.

    share: how many times fewer requests it gets in one turn
    """

    base: str
    name: str
    begin: datetime
    end: datetime
    share: int = 1

    def work(self, requests: list[bytes], status: int = 200) -> Work:
        """Work that sends its share of the requests."""
        return send_all(self.base, requests[: max(len(requests) // self.share, 1)], status=status)


def pairs(resources: int) -> Iterator[Pair | Result]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coprod-bench-")))
        records = folder / "records.ndjson"
        records.write_bytes(b"\n".join(population(resources // 10)))
        run = Run.begin()
        stack.callback(run.finish)
        # Durable, as a clinic would run it: every create is on disk before it is answered.
        administrator = None
        if postgresql.PEER.find() is not None:
            administrator = postgresql.start(run, durable=True, more=("shared_buffers=1GB",))["url"]
        stores = {"SQLite": f"sqlite:///{folder / 'bench.db'}"}
        if administrator:
            stores["PostgreSQL"] = postgresql.new_database(administrator)
        loaded = {name: _load(url, records, run) for name, url in stores.items()}
        bare = stack.enter_context(bare_starlette())
        fhirstarter = stack.enter_context(references.fhirstarter())
        found = stack.enter_context(references.hapi(run, administrator))
        hapi = _fill_hapi(*found, records) if found else None
        for name, url in stores.items():
            if hapi:
                yield _filled(name, resources, loaded[name], hapi)
            with endpoint(url) as base:
                ours = Server(base, name, loaded[name].begin, loaded[name].end)
                yield from _beside_nothing(ours, bare, fhirstarter, resources)
                if hapi:
                    yield from _beside_hapi(ours, hapi, resources)
            with endpoint(url, heads=folder / "heads") as base:
                audited = Server(base, name, loaded[name].begin, loaded[name].end)
                yield from _audited(audited, bare, resources)


@contextmanager
def endpoint(store_url: str, heads: Path | None = None) -> Iterator[str]:
    """Base URL of a `fhir-coprod serve` process on that store; it remembers every call if the ends of the
    audit's chains have a file to go to."""
    command = [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0", "--no-jobs"]
    audit = {"COPROD_AUDIT__ON": "true", "COPROD_AUDIT__HEADS_FILE": str(heads)} if heads else {}
    with serving(command, env=environment(store_url) | audit) as url:
        yield url


def environment(store_url: str) -> dict[str, str]:
    """The environment for a process of ours on that store, without this machine's other settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("COPROD_")}
    return {**kept, "COPROD_STORE__URL": store_url}


# ------------------------------------------------------------------------------------- bringing records in


@dataclass(frozen=True, slots=True)
class _Loaded:
    begin: datetime
    end: datetime
    processor: float
    """Seconds of processor time, the database server's included."""


def _load(store_url: str, records: Path, run: Run) -> _Loaded:
    """Run `fhir-coprod load`, as a user would."""
    meter = Meter(run)
    begin = datetime.now(UTC)
    subprocess.run(
        [sys.executable, "-m", "fhir_coprod", "load", str(records)],
        env=environment(store_url),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return _Loaded(begin, datetime.now(UTC), meter.seconds())


def _fill_hapi(base: str, database: str, records: Path) -> Server:
    """Send the same records in transactions of PUTs, four at a time, patients first."""
    begin = datetime.now(UTC)
    lines = records.read_bytes().split(b"\n")
    patients = len(lines) // 10
    first = [json.dumps(resource).encode() for resource in REFERRED_TO]
    for part in (first, lines[:patients], lines[patients:]):
        chunks = (part[start : start + IN_ONE] for start in range(0, len(part), IN_ONE))
        bundles = [request("POST", base, _transaction(chunk)) for chunk in chunks]
        send_all(base, bundles, status=200, connections=4, seconds=3600)()
    return Server(base, f"HAPI FHIR on {database}", begin, datetime.now(UTC), HAPI_SHARE)


def _transaction(lines: list[bytes]) -> bytes:
    """The resources as one transaction that puts each under its own id."""
    entries = []
    for line in lines:
        resource = json.loads(line)
        where = {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"}
        entries.append({"resource": resource, "request": where})
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def _filled(name: str, resources: int, ours: _Loaded, hapi: Server) -> Result:
    rate = resources / (ours.end - ours.begin).total_seconds()
    return Result(
        "endpoint",
        f"bring in {resources:,} resources by `load`, validated, {name}",
        "resources",
        f"transactions of {IN_ONE} to {hapi.name}",
        f"once; ours {resources / ours.processor:,.0f}/s a core, counting the database server's time too",
        (rate,),
        (resources / (hapi.end - hapi.begin).total_seconds(),),
    )


# ------------------------------------------------------------------------------------------------- by turns


def _beside_nothing(ours: Server, bare: str, fhirstarter: str | None, resources: int) -> Iterator[Pair]:
    places = [f"Patient/p{number * 7 % (resources // 10)}" for number in range(READS)]
    yield Pair(
        f"read, {ours.name}",
        "reads",
        ours.work([request("GET", f"{ours.base}/{place}") for place in places]),
        "bare Starlette route",
        send_all(bare, [request("GET", f"{bare}/{place}") for place in places], status=200),
    )
    if fhirstarter:
        bodies = [care_plan_bytes(number) for number in range(CREATES)]
        yield Pair(
            f"create, validated, indexed and on disk, {ours.name}",
            "creates",
            _creating(ours, bodies),
            "fhirstarter",
            send_all(
                fhirstarter, [request("POST", f"{fhirstarter}/CarePlan", b) for b in bodies], status=201
            ),
            "the reference validates, and stores nothing",
        )


def _audited(ours: Server, bare: str, resources: int) -> Iterator[Pair]:
    """Reads that are each on disk in the audit before they are answered."""
    places = [f"Patient/p{number * 7 % (resources // 10)}" for number in range(READS)]
    for clients, share in ((CONNECTIONS, 1), (1, 8)):
        asked, few = places[: READS // share], "1 client" if clients == 1 else f"{clients} clients"
        yield Pair(
            f"read, remembered on disk, {few}, {ours.name}",
            "reads",
            send_all(
                ours.base,
                [request("GET", f"{ours.base}/{place}") for place in asked],
                status=200,
                connections=clients,
            ),
            "bare Starlette route",
            send_all(
                bare,
                [request("GET", f"{bare}/{place}") for place in asked],
                status=200,
                connections=clients,
            ),
        )


def _creating(server: Server, bodies: list[bytes]) -> Work:
    plans = [body.replace(b"Patient/bench", b"Patient/p1") for body in bodies]
    return server.work([request("POST", f"{server.base}/CarePlan", plan) for plan in plans], 201)


def _beside_hapi(ours: Server, hapi: Server, resources: int) -> Iterator[Pair]:
    patients = resources // 10

    def reads(server: Server) -> Work:
        places = [f"{server.base}/Patient/p{number * 7 % patients}" for number in range(READS)]
        return server.work([request("GET", place, headers=NO_CACHE) for place in places])

    yield Pair(f"read, {ours.name}", "reads", reads(ours), hapi.name, reads(hapi))
    bodies = [care_plan_bytes(number) for number in range(CREATES)]
    yield Pair(
        f"create, {ours.name}",
        "creates",
        _creating(ours, bodies),
        hapi.name,
        _creating(hapi, bodies),
        "the reference does not validate",
    )
    for title, query in (
        ("status=active&_lastUpdated=gt…&_count=20", _recent),
        ("subject:Patient.family=…&status=active&_count=20", _chained),
    ):
        asked = [query(number, patients) for number in range(SEARCHES)]
        _agree(ours, hapi, asked[1])
        yield Pair(
            f"search {title}, {ours.name}",
            "searches",
            _searching(ours, asked),
            hapi.name,
            _searching(hapi, asked),
        )
    yield Pair(
        f"transaction of 100 creates, {ours.name}",
        "transactions",
        _transacting(ours, patients),
        hapi.name,
        _transacting(hapi, patients),
        "the reference does not validate",
    )


_Query = tuple[str, float]
"""A query, with {since} for a moment during the fill, and the share of the fill that was then written."""


def _recent(number: int, patients: int) -> _Query:
    return "status=active&_lastUpdated=gt{since}&_count=20", number / SEARCHES / 2


def _chained(number: int, patients: int) -> _Query:
    return f"subject:Patient.family={family(number * 37 % patients)}&status=active&_count=20", 0


def _url(server: Server, query: _Query) -> str:
    text, part = query
    since = server.begin + part * (server.end - server.begin)
    moment = since.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return f"{server.base}/ServiceRequest?{text.format(since=moment)}"


def _searching(server: Server, queries: list[_Query]) -> Work:
    return server.work([request("GET", _url(server, query), headers=NO_CACHE) for query in queries])


def _agree(ours: Server, hapi: Server, query: _Query) -> None:
    """Check that both find the same number, or they would not be doing the same work."""
    found = []
    for server in (ours, hapi):
        with urllib.request.urlopen(
            urllib.request.Request(_url(server, query), headers={"cache-control": "no-cache"}), timeout=60
        ) as response:
            bundle = json.load(response)
        found.append([entry["resource"]["resourceType"] for entry in bundle.get("entry", [])])
    assert found[0], query
    assert len(found[0]) == len(found[1]), (query, len(found[0]), len(found[1]))


def _transacting(server: Server, patients: int) -> Work:
    """New orders in each turn: a server would not write again what it already holds."""

    def work() -> int:
        bundles = []
        for _ in range(max(TRANSACTIONS // server.share, 2)):
            entries = []
            for _ in range(100):
                number = next(_numbers)
                order = {**referral(number, 0), "subject": {"reference": f"Patient/p{number % patients}"}}
                del order["id"]
                entries.append({"resource": order, "request": {"method": "POST", "url": "ServiceRequest"}})
            bundles.append(
                json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()
            )
        requests = [request("POST", server.base, bundle) for bundle in bundles]
        return send_all(server.base, requests, status=200, connections=4)()

    return work

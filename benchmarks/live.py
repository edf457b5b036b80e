"""Measures the referral watch beside the endpoint: how soon a request is answered and an alert written.

One `fhir-coprod serve` process runs with its jobs, on a store of open referrals. This process reads the clock
before and after, so a figure includes everything that a caller sees: HTTP, validation, commit, the watch, and
the log.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.endpoint import environment
from benchmarks.fill import filled, id_of, referral
from benchmarks.frame import Figure
from benchmarks.growth import store_url
from benchmarks.load import serving
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.loop import AGAIN
from fhir_coprod.watch.rules import policies
from tests.peers import postgresql

REFERRALS = 10_000
RATE = 200
"""Events per second."""
SECONDS = 30
LATE = 5
"""One event in so many is a referral that is already overdue and needs an alert at once."""
QUESTIONS = 3_000
CLIENTS = (1, 4)
SENDERS = 8
"""Connections that events come by."""
QUIET = 3
"""Seconds without anything left to do, after which the watch has seen it all."""
GLANCE = 0.002
"""Seconds between this process's looks at the log."""


def pairs() -> Iterator[Figure]:
    now = datetime.now(UTC)
    for database in ("SQLite", "PostgreSQL"):
        if database == "PostgreSQL" and postgresql.PEER.find() is None:
            print(f"left out: PostgreSQL ({postgresql.PEER.install})", file=sys.stderr)
            continue
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="coprod-bench-"))
            url = stack.enter_context(store_url(database, Path(folder)))
            store = stack.enter_context(filled(url, REFERRALS, policies.load("default"), now))
            command = [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0"]
            base = stack.enter_context(serving(command, env=environment(url)))
            _until_watched(store)
            for clients in CLIENTS:
                yield _answers(base, database, clients)
            yield _alerts(base, database, store)


def _until_watched(store: Store) -> None:
    """Nothing has been left to do for QUIET seconds."""
    quiet = time.monotonic()
    while time.monotonic() < quiet + QUIET:
        head = store.head()
        time.sleep(0.2)
        if store.head() != head or store.cursor(FOLLOWER) < head or store.cursor(AGAIN):
            quiet = time.monotonic()


# ------------------------------------------------------------------------------------ how soon an answer


class _Caller:
    """One keep-alive connection; `http.client` takes a tenth of the processor time that httpx would."""

    def __init__(self, base: str) -> None:
        parts = urlsplit(base)
        self._http = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._path = parts.path

    def send(self, method: str, place: str, body: bytes | None = None) -> None:
        self._http.request(method, f"{self._path}/{place}", body, {"content-type": "application/fhir+json"})
        answer = self._http.getresponse()
        said = answer.read()
        assert answer.status in (200, 201), said


def _together(clients: int, base: str, work: Callable[[_Caller, int], None]) -> None:
    """Do the work in so many threads, each with its number and its own connection."""
    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(work, _Caller(base), number) for number in range(clients)]:
            done.result()


def _answers(base: str, database: str, clients: int) -> Figure:
    taken: list[float] = []

    def ask(caller: _Caller, number: int) -> None:
        chance = random.Random(number)
        for _ in range(QUESTIONS // clients):
            place = f"ServiceRequest/s-{id_of(chance.randrange(REFERRALS))}/$standing"
            begin = time.perf_counter()
            caller.send("GET", place)
            taken.append(time.perf_counter() - begin)

    _together(clients, base, ask)
    return Figure(
        "live",
        f"ServiceRequest/$standing, 99th percentile, {clients} at once, {database}",
        _percentile(taken, 99),
        "ms",
        30,
        f"{len(taken):,} questions about {REFERRALS:,} open referrals; {_rest(taken)}",
    )


# ------------------------------------------------------------------------------------ how soon an alert


def _alerts(base: str, database: str, store: Store) -> Figure:
    """For each alert, the time from sending the request until the alert can be read from the log."""
    seen: dict[str, float] = {}
    done = threading.Event()
    following = threading.Thread(target=_follow, args=(store, seen, done))
    following.start()
    sent, behind = _happen(base, datetime.now(UTC))
    deadline = time.monotonic() + 60
    while len(seen) < len(sent) and time.monotonic() < deadline:
        time.sleep(0.05)
    done.set()
    following.join()
    missing = len(sent.keys() - seen.keys())
    assert not missing, f"{missing} alerts of {len(sent)} were not written within a minute"
    taken = [seen[name] - sent[name] for name in sent]
    return Figure(
        "live",
        f"from event to alert at {RATE} events/s, 99th percentile, {database}",
        _percentile(taken, 99),
        "ms",
        250,
        f"{len(taken):,} alerts of {RATE * SECONDS:,} events over HTTP, {REFERRALS:,} open referrals;"
        f" {_rest(taken)}; no event was sent more than {behind * 1e3:.0f} ms late",
    )


def _follow(store: Store, seen: dict[str, float], done: threading.Event) -> None:
    """Record when each alert could be read, by the referral it is about."""
    position = store.head()
    while not done.wait(GLANCE):
        changes = store.changes(position, 500)
        at = time.perf_counter()
        for change in changes:
            position = change.position
            if change.type == "DetectedIssue" and change.version == 1:
                alert = json.loads(change.body)
                seen[alert["implicated"][0]["reference"]] = at


def _happen(base: str, now: datetime) -> tuple[dict[str, float], float]:
    """Send each event at its time; returns when those that need an alert were sent, and the longest delay."""
    events = [
        (f"{event['resourceType']}/{event['id']}", json.dumps(event).encode())
        for event in (_event(number, now) for number in range(RATE * SECONDS))
    ]
    sent: dict[str, float] = {}
    late: list[float] = []
    begin = time.perf_counter() + 0.1

    def send(caller: _Caller, first: int) -> None:
        for number in range(first, len(events), SENDERS):
            place, body = events[number]
            time.sleep(max(begin + number / RATE - time.perf_counter(), 0))
            moment = time.perf_counter()
            late.append(moment - begin - number / RATE)
            if number % LATE == 0:
                sent[place] = moment
            caller.send("PUT", place, body)

    _together(SENDERS, base, send)
    return sent, max(late)


def _event(number: int, now: datetime) -> dict[str, Any]:
    """A referral that no department has been asked to take for twelve days; otherwise news of a known one."""
    if number % LATE == 0:
        return next(referral(f"event-{number}", now, late=True))
    request, task, message = referral(id_of(number), now, late=False)
    if number % 2:
        return {**task, "status": "received", "lastModified": (now - timedelta(minutes=5)).isoformat()}
    return message | {"sent": now.isoformat()} if number % 4 else request | {"priority": "urgent"}


# --------------------------------------------------------------------------------------------------- figures


def _percentile(seconds: Sequence[float], of: int) -> float:
    """The percentile in milliseconds, by nearest rank."""
    return sorted(seconds)[math.ceil(len(seconds) * of / 100) - 1] * 1e3


def _rest(taken: Sequence[float]) -> str:
    return f"median {_percentile(taken, 50):.1f} ms, longest {max(taken) * 1e3:.1f} ms"

"""The FHIR endpoint over HTTP, one server process, beside a bare Starlette route that does nothing."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.frame import Pair
from benchmarks.load import bare_starlette, request, send_all, serving
from benchmarks.sample import PATIENT, care_plan_bytes
from tests.peers import postgresql
from tests.peers.shared import Run

READS = 6_000
CREATES = 1_500


@contextmanager
def endpoint(store_url: str) -> Iterator[str]:
    """Base URL of a `fhir-coprod serve` process on that store."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COPROD_")}
    command = [sys.executable, "-m", "fhir_coprod", "serve", "--port", "0"]
    with serving(command, env=environment | {"COPROD_STORE__URL": store_url}) as url:
        yield url


def pairs() -> Iterator[Pair]:
    with tempfile.TemporaryDirectory(prefix="coprod-bench-") as folder:
        yield from _on(f"sqlite:///{Path(folder) / 'bench.db'}", "SQLite")
    if postgresql.PEER.find() is not None:
        run = Run.begin()
        try:
            # Durable, as a clinic would run it: every create is on disk before it is answered.
            yield from _on(postgresql.start(run, durable=True)["url"], "PostgreSQL")
        finally:
            run.finish()


def _on(store_url: str, database: str) -> Iterator[Pair]:
    with endpoint(store_url) as base, bare_starlette() as bare:
        _call("PUT", f"{base}/Patient/bench", json.dumps(PATIENT).encode())
        plan = json.loads(_call("POST", f"{base}/CarePlan", care_plan_bytes()))
        yield Pair(
            f"read by id over HTTP, {database}",
            "reads",
            send_all(base, [request("GET", f"{base}/CarePlan/{plan['id']}")] * READS, status=200),
            "bare Starlette route",
            send_all(bare, [request("GET", f"{bare}/CarePlan/1")] * READS, status=200),
        )
        bodies = [care_plan_bytes(number) for number in range(CREATES)]
        yield Pair(
            f"create over HTTP, validated, indexed and on disk, {database}",
            "creates",
            send_all(base, [request("POST", f"{base}/CarePlan", body) for body in bodies], status=201),
            "bare Starlette route",
            send_all(bare, [request("POST", f"{bare}/CarePlan", body) for body in bodies], status=201),
            "the reference neither parses nor keeps anything",
        )


def _call(method: str, url: str, body: bytes) -> bytes:
    headers = {"content-type": "application/fhir+json", "prefer": "return=representation"}
    with urllib.request.urlopen(
        urllib.request.Request(url, data=body, method=method, headers=headers)
    ) as response:
        answer: bytes = response.read()
        return answer

"""Crowds of connections beside an honest reader: what it waits for, what memory it costs, and how it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests import programs
from tests.api.conftest import FHIR, patient
from tests.api.server import Served, serving

pytestmark = [pytest.mark.proof, pytest.mark.alone]

SECONDS = 8 if os.environ.get("PROOF_SIZE") == "ci" else 25
GET = "GET /fhir/metadata HTTP/1.1\\r\\nHost: localhost\\r\\n"
POST = "POST /fhir/Patient HTTP/1.1\\r\\nHost: localhost\\r\\n"

CROWDS: dict[str, tuple[str, int, str, str]] = {
    "700 that say nothing": ("silent", 700, "", ""),
    "700 with half a head": ("silent", 700, GET, ""),
    "1,100 that say nothing": ("silent", 1_100, "", ""),
    "1,100 with half a head": ("silent", 1_100, GET, ""),
    "1,100 with half a body": ("silent", 1_100, POST + "Content-Length: 9999\\r\\n\\r\\n{", ""),
    "4 with a header without end": ("endless", 4, GET + "X-a: ", "b"),
    "4 with headers without end": ("endless", 4, GET, "a: b\\r\\n"),
    "4 with a URL without end": ("endless", 4, "GET /fhir/", "a"),
    "4 with an extension without end": (
        "endless",
        4,
        POST + "Transfer-Encoding: chunked\\r\\n\\r\\n2;a=",
        "b",
    ),
    "40 that read nothing": (
        "unread",
        40,
        "GET /fhir/Patient/large HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n",
        "100",
    ),
}


@contextmanager
def crowd(served: Served, name: str) -> Iterator[None]:
    """The crowd is there while the block runs."""
    kind, number, begin, more = CROWDS[name]
    port = served.url.rpartition(":")[2].partition("/")[0]
    process = programs.start("tests.api.crowd", port, kind, str(number), begin, more)
    try:
        yield
        assert process.poll() is None, "the crowd has gone"
    finally:
        process.close()


@pytest.mark.parametrize("name", CROWDS)
def test_beside_a_crowd_who_asks_is_answered(tmp_path: Path, name: str) -> None:
    with serving(f"sqlite:///{tmp_path / 'store.db'}", files=1_024) as served:
        small, large = patient(id="small"), patient(id="large", name=[{"text": "x" * 1_000_000}] * 8)
        for one in (small, large):
            place = f"{served.url}/Patient/{one['id']}"
            assert requests.put(place, json=one, headers=FHIR, timeout=60).status_code == 201
        took: list[float] = []
        most = 0
        with crowd(served, name):
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                began = time.monotonic()
                assert requests.get(f"{served.url}/Patient/small", timeout=20).status_code == 200
                took.append(time.monotonic() - began)
                most = max(most, served.memory())
                time.sleep(0.02)
            began = time.monotonic()
            served.process.terminate()
            assert served.process.wait(30) == 0
            ended = time.monotonic() - began
        slowest = sorted(took)[int(len(took) * 0.99)]
        print(
            f"\n{name}: {len(took)} reads, p99 {slowest * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms, "
            f"memory {most / 1e6:.0f} MB, ended in {ended:.1f} s; it said: {served.log()!r}"
        )
        assert slowest < 1
        # What is asked for at the same moment is in memory at once, before anybody can know who reads it.
        assert most < (700_000_000 if "read nothing" in name else 500_000_000)
        assert ended < 11

"""Crowds of connections beside an honest reader: what it waits for, what memory it costs, and how it ends."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.api.conftest import FHIR, patient
from tests.api.server import Served, serving

pytestmark = pytest.mark.proof

SECONDS = 8 if os.environ.get("PROOF_SIZE") == "ci" else 25
HEAD = b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n"
Crowd = Callable[[Served, ExitStack, threading.Event], None]


def silent(number: int, said: bytes) -> Crowd:
    """So many connections that say this and nothing more; who is closed comes again."""

    def come(served: Served, stack: ExitStack, over: threading.Event) -> None:
        open_ = [stack.enter_context(served.connect()) for _ in range(number)]
        for one in open_:
            with suppress(OSError):
                one.sendall(said)

        def stay() -> None:
            while not over.wait(0.5):
                for at, one in enumerate(open_):
                    try:
                        one.settimeout(0)
                        is_closed = not one.recv(100)
                    except BlockingIOError:
                        continue
                    except OSError:
                        is_closed = True
                    if is_closed:
                        one.close()
                        with suppress(OSError):
                            open_[at] = stack.enter_context(served.connect())
                            open_[at].sendall(said)

        thread = threading.Thread(target=stay)
        thread.start()
        stack.callback(thread.join)

    return come


def endless(number: int, begin: bytes, more: bytes) -> Crowd:
    """So many connections that go on for ever with this; who is closed comes again."""

    def come(served: Served, stack: ExitStack, over: threading.Event) -> None:
        def go_on() -> None:
            while not over.is_set():
                with suppress(OSError), served.connect() as connection:
                    connection.sendall(begin)
                    while not over.is_set():
                        connection.sendall(more * (20_000 // len(more)))

        for _ in range(number):
            thread = threading.Thread(target=go_on)
            thread.start()
            stack.callback(thread.join)

    return come


def unread(number: int) -> Crowd:
    """So many connections that ask for 8 MB again and again, and read nothing."""

    def come(served: Served, stack: ExitStack, over: threading.Event) -> None:
        large = patient(name=[{"text": f"{at}" + "x" * 1_000_000} for at in range(8)])
        place = requests.post(f"{served.url}/Patient", json=large, headers=FHIR, timeout=60).json()["id"]
        asked = f"GET /fhir/Patient/{place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 100
        for _ in range(number):
            stack.enter_context(served.connect()).sendall(asked)

    return come


CROWDS: dict[str, Crowd] = {
    "700 that say nothing": silent(700, b""),
    "700 with half a head": silent(700, HEAD),
    "1,100 that say nothing": silent(1_100, b""),
    "1,100 with half a head": silent(1_100, HEAD),
    "1,100 with half a body": silent(1_100, HEAD.replace(b"GET", b"POST") + b"Content-Length: 9999\r\n\r\n{"),
    "4 with a header without end": endless(4, HEAD + b"X-a: ", b"b"),
    "4 with headers without end": endless(4, HEAD, b"a: b\r\n"),
    "4 with a URL without end": endless(4, b"GET /fhir/", b"a"),
    "4 with an extension without end": endless(
        4, HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n2;a=", b"b"
    ),
    "4 that ask again and again": endless(4, b"", HEAD + b"\r\n"),
    "40 that read nothing": unread(40),
}


@contextmanager
def reading(served: Served) -> Iterator[list[float]]:
    """Somebody who reads a record every 20 ms, on a new connection each time; how long each took."""
    made = requests.post(f"{served.url}/Patient", json=patient(), headers=FHIR, timeout=20).json()["id"]
    took: list[float] = []
    over = threading.Event()

    def read() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            answer = requests.get(f"{served.url}/Patient/{made}", timeout=20)
            assert answer.status_code == 200
            took.append(time.monotonic() - began)

    faults: list[BaseException] = []

    def reported() -> None:
        try:
            read()
        except BaseException as error:  # noqa: BLE001 - told to the test
            faults.append(error)

    thread = threading.Thread(target=reported)
    thread.start()
    yield took
    over.set()
    thread.join()
    assert not faults, faults[0]


@pytest.mark.parametrize("name", CROWDS)
def test_beside_a_crowd_who_asks_is_answered(tmp_path: Path, name: str) -> None:
    with serving(f"sqlite:///{tmp_path / 'store.db'}", files=1_024) as served, ExitStack() as stack:
        over = threading.Event()
        stack.callback(over.set)
        with reading(served) as took:
            CROWDS[name](served, stack, over)
            most = 0
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                most = max(most, served.memory())
                time.sleep(0.05)
        slowest = sorted(took)[int(len(took) * 0.99)]
        began = time.monotonic()
        served.process.terminate()
        assert served.process.wait(30) == 0
        ended = time.monotonic() - began
        print(
            f"\n{name}: {len(took)} reads, p99 {slowest * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms, "
            f"memory {most / 1e6:.0f} MB, ended in {ended:.1f} s"
        )
        assert slowest < 1
        assert most < 500_000_000
        assert ended < 11

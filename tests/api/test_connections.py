"""Bounds on connections: what has no end, what comes too slowly, what is not read, and too many at once."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import chain, repeat
from pathlib import Path

import pytest
import requests

from tests.api.conftest import FHIR, patient
from tests.api.server import Served, serving
from tests.api.test_framing import answers, apart

pytestmark = pytest.mark.long

LIMITS = {
    "head_seconds": 1.0,
    "body_seconds": 1.5,
    "idle_seconds": 2.0,
    "answer_seconds": 2.5,
    "answer_pace": 100_000_000,
    "linger_seconds": 0.5,
    "bodies": 12_000_000,
}
ASKED = b"GET /fhir/metadata?_elements=status HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"GET /fhir/metadata HTTP/1.1\r\nHost: localhost\r\n"
BODY = b"POST /fhir/Basic HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
CHUNKED = BODY + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('bounds') / 'store.db'}", limits=LIMITS) as running:
        yield running


# ---------------------------------------------------------------------------------------- what has no end


ENDLESS: dict[str, tuple[bytes, bytes, int]] = {
    "a path": (b"GET /fhir/", b"a", 414),
    "a query": (b"GET /fhir/Patient?name=", b"a", 414),
    "a value": (HEAD + b"X-a: ", b"b", 431),
    "a name": (HEAD + b"X", b"b", 431),
    "small headers": (HEAD, b"a: b\r\n", 431),
    "spaces before a value": (HEAD + b"a:", b" ", 431),
    "empty lines before the request": (b"", b"\r\n", 431),
    "the extension of a chunk": (CHUNKED + b"2;a=", b"b", 431),
    "a quoted extension": (CHUNKED + b'2;a="', b"b", 431),
    "the size of a chunk": (CHUNKED, b"0", 431),
    "trailers": (CHUNKED + b"0\r\n", b"a: b\r\n", 431),
    "the value of a trailer": (CHUNKED + b"0\r\na: ", b"b", 431),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_refused_and_takes_no_memory(served: Served, name: str) -> None:
    begin, more, status = ENDLESS[name]
    before = served.memory()
    with served.connect() as connection:
        connection.sendall(begin)
        piece = more * (1_000 // len(more))
        with suppress(ConnectionError):
            for _ in range(1_000):
                connection.sendall(piece)
        (found,) = answers(connection)
    assert found[0] == status
    assert "64,000 bytes" in json.loads(found[1])["issue"][0]["diagnostics"]
    assert served.memory() - before < 5_000_000


@pytest.mark.parametrize("part", [1_000, 64_000, 1_000_000])
@pytest.mark.parametrize(("size", "status"), [(63_900, 200), (64_100, 431)])
def test_headers_are_measured_however_they_come(served: Served, size: int, status: int, part: int) -> None:
    begin = HEAD + b"Connection: close\r\nX-a: "
    sent = begin + b"b" * (size - len(begin) - 4) + b"\r\n\r\n"
    with served.connect() as connection:
        with suppress(ConnectionError):
            for at in range(0, len(sent), part):
                connection.sendall(sent[at : at + part])
        (found,) = answers(connection)
    assert found[0] == status


# ------------------------------------------------------------------------------------ what comes too slowly


def trickle(
    connection: socket.socket, pieces: Iterator[bytes], seconds: float = 6
) -> list[tuple[int, bytes]]:
    """Send a piece every tenth of a second until the other side closes; the answers."""
    received = b""
    end = time.monotonic() + seconds
    connection.settimeout(0.1)
    with suppress(ConnectionError):
        while time.monotonic() < end:
            try:
                chunk = connection.recv(65_536)
            except TimeoutError:
                connection.sendall(next(pieces, b""))
                continue
            if not chunk:
                break
            received += chunk
    assert time.monotonic() < end, "it was not closed in time"
    return apart(received)


SLOW: dict[str, tuple[Callable[[], Iterator[bytes]], list[int]]] = {
    "says nothing": (lambda: iter(()), []),
    "half a head": (lambda: iter((HEAD,)), [408]),
    "a head byte by byte": (lambda: (bytes((byte,)) for byte in HEAD + b"X: " + b"a" * 100), [408]),
    "a head header by header": (lambda: chain((HEAD,), repeat(b"a: b\r\n")), [408]),
    "empty lines one by one": (lambda: repeat(b"\r\n"), []),
    "nothing after an answer": (lambda: iter((ASKED,)), [200]),
    "half a head after an answer": (lambda: iter((ASKED, HEAD)), [200, 408]),
    "half a head together with a request": (lambda: iter((ASKED + HEAD,)), [200, 408]),
    "a body byte by byte": (
        lambda: chain((BODY + b"Content-Length: 1000\r\n\r\n{",), repeat(b" ")),
        [408],
    ),
    "a body that does not begin": (lambda: iter((BODY + b"Content-Length: 1000\r\n\r\n",)), [408]),
    "a body chunk by chunk": (lambda: chain((CHUNKED,), repeat(b"1\r\n \r\n")), [408]),
    "an extension byte by byte": (lambda: chain((CHUNKED + b"2;",), repeat(b"a")), [408]),
    "a trailer byte by byte": (lambda: chain((CHUNKED + b"2\r\n{}\r\n0\r\na: ",), repeat(b"a")), [408]),
    "a body of a page": (
        lambda: chain(
            (
                b"POST /people HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                b"Content-Type: application/x-www-form-urlencoded\r\n\r\na=",
            ),
            repeat(b"a"),
        ),
        [408],
    ),
    "a body that is too large": (
        lambda: chain((BODY + b"Content-Length: 99000000\r\n\r\n",), repeat(b" ")),
        [413],
    ),
}


@pytest.fixture(scope="module")
def slow(served: Served) -> dict[str, tuple[list[int], float]]:
    """What each gets, and after how many seconds its connection is closed; all at the same time."""

    def one(name: str) -> tuple[list[int], float]:
        began = time.monotonic()
        with served.connect() as connection:
            statuses = [status for status, _ in trickle(connection, SLOW[name][0]())]
        return statuses, time.monotonic() - began

    with ThreadPoolExecutor(len(SLOW)) as pool:
        return dict(zip(SLOW, pool.map(one, SLOW), strict=True))


@pytest.mark.parametrize("name", SLOW)
def test_who_is_too_slow_is_told_so_and_the_connection_ends(
    slow: dict[str, tuple[list[int], float]], name: str
) -> None:
    statuses, seconds = slow[name]
    assert statuses == SLOW[name][1]
    assert 0.8 < seconds < 5


def test_who_is_slow_within_the_limits_is_served(served: Served) -> None:
    with served.connect() as connection:
        for at in range(0, len(ASKED), 10):
            connection.sendall(ASKED[at : at + 10])
            time.sleep(0.02)
        assert connection.recv(1_000).startswith(b"HTTP/1.1 200")


def test_who_is_refused_and_goes_on_sending_can_read_why_and_is_closed(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /fhir/metadata HTTP/1.1\r\nHost: \r\n\r\n")
        found = trickle(connection, repeat(b"x" * 100_000), 3)
    assert [status for status, _ in found] == [400]


# ---------------------------------------------------------------------------------------- what is not read


@pytest.fixture(scope="module")
def large(served: Served) -> str:
    """The place of a record of 8 MB."""
    stored = patient(name=[{"text": f"{at}" + "x" * 1_000_000} for at in range(8)])
    created = requests.post(f"{served.url}/Patient", json=stored, headers=FHIR, timeout=20)
    assert created.status_code == 201
    return f"/fhir/Patient/{created.json()['id']}"


def test_answers_that_nobody_reads_are_few_and_do_not_wait_for_ever(served: Served, large: str) -> None:
    before = served.memory()
    with served.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(f"GET {large} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 200)
        time.sleep(0.5)
        assert served.memory() - before < 60_000_000
        time.sleep(3)  # longer than an answer may take
        received = 0
        with suppress(ConnectionError):
            while chunk := connection.recv(1_000_000):
                received += len(chunk)
        assert received < 16_000_000


def test_an_answer_that_is_read_slowly_but_in_time_is_whole(served: Served, large: str) -> None:
    with served.connect() as connection:
        connection.sendall(f"GET {large} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        time.sleep(0.4)
        ((status, body),) = answers(connection)
    assert status == 200
    assert len(body) > 8_000_000


def test_many_requests_at_once_on_one_connection_are_answered_in_turn(served: Served) -> None:
    before = served.memory()
    asked = [
        b"GET /fhir/Patient?_count=0&_id=a%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % at for at in range(50)
    ]
    reads = [b"GET /fhir/Patient/b%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % at for at in range(500)]
    sent = b"".join(
        (*reads, *asked, b"GET /fhir/Patient/c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    )
    with served.connect() as connection:
        thread = threading.Thread(target=connection.sendall, args=(sent,))
        thread.start()
        found = answers(connection)
        thread.join()
    assert [status for status, _ in found] == [404] * 500 + [200] * 50 + [404]
    assert all(b"Patient/b%d." % at in found[at][1] for at in range(500))
    assert all(b"_id=a%d" % at in found[500 + at][1] for at in range(50))
    assert served.memory() - before < 30_000_000


def test_bodies_behind_one_another_are_each_taken_whole(served: Served) -> None:
    """More than is parsed, and than is held, at once."""
    sizes = (10, 4_000, 70_000, 300_000, 20)
    sent = b""
    for size in sizes:
        body = json.dumps({"resourceType": "Basic", "code": {"text": "x" * size}}).encode()
        sent += BODY + b"Content-Length: %d\r\n\r\n" % len(body) + body
        sent += CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    last = b"GET /fhir/Patient/c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with served.connect() as connection:
        thread = threading.Thread(target=connection.sendall, args=(sent + last,))
        thread.start()
        found = answers(connection)
        thread.join()
    assert [status for status, _ in found] == [201] * 10 + [404]
    stored = [len(json.loads(body)["code"]["text"]) for _, body in found[:-1]]
    assert stored == [size for size in sizes for _ in range(2)]


def test_when_all_bodies_are_too_much_together_the_oldest_is_refused(served: Served) -> None:
    with served.connect() as old, served.connect() as new:
        for one in (old, new):
            one.sendall(BODY + b"Content-Length: 8000000\r\n\r\n" + b" " * 7_000_000)
            time.sleep(0.3)  # time is told in tenths of a second
        ((status, said),) = answers(old)
        assert status == 503
        assert b"on their way in" in said
        new.sendall(b" " * 1_000_000)
        assert new.recv(1_000).startswith(b"HTTP/1.1 400")  # it is empty, but it has been taken
    assert "more than 12,000,000 bytes together" in served.log()


# --------------------------------------------------------------------------------------- too many at once


def test_above_the_most_the_longest_silent_has_to_go(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with serving(f"sqlite:///{store}", limits={"most": 10}) as running, ExitStack() as stack:
        silent = [stack.enter_context(running.connect()) for _ in range(40)]
        for one in silent[::2]:
            with suppress(ConnectionError):
                one.sendall(HEAD)
        for _ in range(5):
            assert requests.get(f"{running.url}/metadata?_elements=status", timeout=5).status_code == 200
        kept = 0
        for one in silent:
            one.setblocking(False)
            with suppress(ConnectionError):
                try:
                    one.recv(10)
                except BlockingIOError:
                    kept += 1
        assert kept <= 9
        assert running.log().count("as many as this process takes") == 1

        figures = requests.get(running.url.removesuffix("fhir") + "metrics", timeout=5).text
        assert "coprod_connections 10.0" in figures

        # Nobody who is served has to go: who comes then is refused.
        with closing(sqlite3.connect(store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            posting = []
            body = json.dumps(patient()).encode()
            sent = BODY.replace(b"Basic", b"Patient") + b"Content-Length: %d\r\n\r\n" % len(body) + body
            for _ in range(10):
                posting.append(stack.enter_context(running.connect()))
                posting[-1].sendall(sent)
                time.sleep(0.02)
            with running.connect() as refused, suppress(ConnectionResetError):
                assert [status for status, _ in answers(refused)] == [503]
            other.execute("ROLLBACK")
        for one in posting:
            assert one.recv(1_000).startswith(b"HTTP/1.1 201")


def test_descriptors_are_reported_before_they_run_out_and_when_they_do(tmp_path: Path) -> None:
    with (
        serving(f"sqlite:///{tmp_path / 'store.db'}", files=100, limits={"most": 200}) as running,
        ExitStack() as stack,
    ):
        silent = [stack.enter_context(running.connect()) for _ in range(60)]
        until(lambda: "fewer than 50 of 100 file descriptors" in running.log())
        silent += [stack.enter_context(running.connect()) for _ in range(60)]
        until(lambda: "no file descriptor is left" in running.log())
        for one in silent:
            one.close()
        until(lambda: requests.get(f"{running.url}/metadata", timeout=5).status_code == 200)
        assert running.log().count("\n") == 2


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while True:
        with suppress(requests.ConnectionError):
            if what():
                return
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)

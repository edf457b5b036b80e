"""The server is told to stop, or killed, while it is busy: it ends in time, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import requests

from tests import programs
from tests.api.conftest import FHIR, patient
from tests.api.server import Served, serving
from tests.api.test_framing import answers

pytestmark = pytest.mark.long

HEAD = b"POST /fhir/Patient HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def ended(served: Served, number: int = signal.SIGTERM) -> tuple[int, float]:
    """Exit code after this signal, and the seconds until then."""
    began = time.monotonic()
    served.process.send_signal(number)
    return served.process.wait(30), time.monotonic() - began


def companions(store: Path) -> list[str]:
    """What SQLite has put beside the file."""
    return [each.name for each in store.parent.iterdir() if each.name.startswith(f"{store.name}-")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_connections_that_wait_for_their_client_do_not_delay_the_end(tmp_path: Path, number: int) -> None:
    store = tmp_path / "store.db"
    with serving(f"sqlite:///{store}") as served, ExitStack() as stack:
        created = requests.post(f"{served.url}/Patient", json=patient(), headers=FHIR, timeout=20)
        assert created.status_code == 201
        assert companions(store) != []
        for said in (b"", b"GET /fhir/metadata HTTP/1.1\r\nHost: local", b"\r\n"):
            stack.enter_context(served.connect()).sendall(said)
        idle = stack.enter_context(served.connect())
        idle.sendall(b"GET /fhir/Patient/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(1_000).startswith(b"HTTP/1.1 404")
        code, seconds = ended(served, number)
        assert code == 0
        assert served.log().count("\n") == 1  # where the pages are
        assert seconds < 5
        assert companions(store) == []


def test_what_is_not_done_in_time_is_not_done(tmp_path: Path) -> None:
    """A writer that waits for another process cannot be stopped; nor can its thread."""
    store = tmp_path / "store.db"
    with serving(f"sqlite:///{store}", grace=1.5) as served, ExitStack() as stack:
        other = stack.enter_context(closing(sqlite3.connect(store, isolation_level=None)))
        other.execute("BEGIN IMMEDIATE")
        body = json.dumps(patient()).encode()
        posting = stack.enter_context(served.connect())
        posting.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        slow = stack.enter_context(served.connect())
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        time.sleep(0.3)
        code, seconds = ended(served)
        assert code == 0
        assert 0.5 < seconds < 4
        assert "Traceback" not in served.log()
        assert served.log().startswith("still at work after")
        for connection in (posting, slow):
            ((status, said),) = answers(connection)
            assert status == 503
            assert b"read before you repeat it" in said
        other.execute("ROLLBACK")
        assert other.execute("SELECT count(*) FROM resource WHERE type = 'Patient'").fetchone() == (0,)


def test_after_a_kill_the_next_start_goes_on_and_its_end_tidies_up(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    with serving(f"sqlite:///{store}", stops=False) as served:
        created = requests.post(f"{served.url}/Patient", json=patient(), headers=FHIR, timeout=20).json()
        served.process.kill()
    assert companions(store) != []
    with serving(f"sqlite:///{store}") as served:
        assert requests.get(f"{served.url}/Patient/{created['id']}", timeout=20).status_code == 200
        assert ended(served)[0] == 0
    assert companions(store) == []


def workers_of(served: Served) -> set[int]:
    """The processes that answer: each has the listening socket, and the parent as well."""
    port = int(served.url.rpartition(":")[2].partition("/")[0])
    wanted = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(wanted) and line[3] == "0A"}
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != served.process.pid:
            with suppress(OSError):
                if any(os.readlink(each) in sockets for each in (process / "fd").iterdir()):
                    found.add(int(process.name))
    return found


def is_free(port: int) -> bool:
    with suppress(OSError), socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
        return True
    return False


def test_workers_serve_one_store_are_replaced_and_end_with_their_parent_in_good_order(
    postgresql_store: str,
) -> None:
    with serving(postgresql_store, "--workers", "2") as served:
        # The socket listens already while the processes load: the first request waits for them.
        health = served.url.removesuffix("fhir") + "health"
        assert requests.get(health, timeout=60).json()["watch"] == "nobody"
        one = patient()
        headers = {**FHIR, "If-None-Exist": f"identifier=urn:test|{one['identifier'][0]['value']}"}
        answers: list[tuple[int, str]] = []

        def create() -> None:
            for _ in range(5):
                answer = requests.post(f"{served.url}/Patient", json=one, headers=headers, timeout=60)
                answers.append((answer.status_code, answer.json()["id"]))

        threads = [threading.Thread(target=create) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(status for status, _ in answers) == [200] * 39 + [201]
        assert len({id for _, id in answers}) == 1

        until(lambda: len(workers_of(served)) == 2)
        first, second = workers_of(served)
        os.kill(first, signal.SIGKILL)
        until(lambda: len(workers_of(served)) == 2 and first not in workers_of(served))
        until(lambda: f"worker {first} has ended (signal 9); another is started" in served.log())
        assert requests.get(health, timeout=60).status_code == 200
        assert second in workers_of(served)

        with served.connect() as idle:
            idle.sendall(b"GET /fhir/Patient/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert idle.recv(1_000).startswith(b"HTTP/1.1 404")
            assert ended(served)[0] == 0
        assert not workers_of(served)


@pytest.mark.proof
def test_workers_end_when_their_parent_is_killed(postgresql_store: str) -> None:
    with serving(postgresql_store, "--workers", "2", stops=False) as served:
        health = served.url.removesuffix("fhir") + "health"
        assert requests.get(health, timeout=60).status_code == 200
        until(lambda: len(workers_of(served)) == 2)
        served.process.kill()
        served.process.wait(10)
        until(lambda: not workers_of(served))
        until(lambda: is_free(int(served.url.rpartition(":")[2].partition("/")[0])))


LEFT_ALONE = """\
import multiprocessing, time
from fhir_coprod import stopping
def work():
    stopping.end_with_parent()
    print("at work", flush=True)
    time.sleep(60)  # the end of a worker that nobody ends, so that the test fails and does not hang
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
"""


def test_a_worker_whose_parent_is_killed_ends() -> None:
    parent = programs.start("-c", LEFT_ALONE, stdout=programs.PIPE)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "at work\n"
        began = time.monotonic()
        parent.kill()
        assert parent.stdout.read() == ""  # until nobody has the pipe any more
        assert time.monotonic() - began < 30
    finally:
        parent.close()


LONG_TO_FREE = """\
import sys, time
from fhir_coprod import stopping
stopping.GRACE_SECONDS = stopping._LAST_SECONDS = 0.1
class Large:
    def __del__(self, sleep=time.sleep):
        sleep(0.4)
sys.modules["large"] = Large()
stopping.end_in_time()
"""


def test_who_has_closed_everything_may_free_the_memory() -> None:
    """An alarm then would be told as a failure."""
    assert programs.run("-c", LONG_TO_FREE).returncode == 0


IN_THE_BACKGROUND = """\
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from fhir_coprod.cli import main
main()
"""
"""A shell that runs a script starts what ends in `&` with Ctrl-C ignored."""


class TestCommands:
    """`sync`, `worker` and `load` are told to stop in the middle."""

    def config(self, folder: Path, url: str) -> Path:
        file = folder / "coprod.toml"
        file.write_text(
            f'[store]\nurl = "sqlite:///{folder / "store.db"}"\n[[ehr]]\nname = "a"\nurl = "{url}"\n'
        )
        return file

    @pytest.mark.parametrize(
        ("command", "code", "start"),
        [
            ("sync", 143, ("fhir_coprod",)),
            ("worker", 0, ("fhir_coprod",)),
            ("sync", 143, ("-c", IN_THE_BACKGROUND)),
        ],
        ids=["sync", "worker", "sync in the background of a shell"],
    )
    def test_while_an_ehr_does_not_answer(
        self, tmp_path: Path, command: str, code: int, start: tuple[str, ...]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, (tmp_path / "log").open("w") as log:
            config = self.config(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/fhir")
            process = programs.start(*start, "--config", str(config), command, stderr=log)
            try:
                silent.settimeout(60)
                asked, _ = silent.accept()
                if start[0] == "-c":
                    process.send_signal(signal.SIGINT)
                    time.sleep(0.1)
                    assert process.poll() is None
                began = time.monotonic()
                process.terminate()
                assert process.wait(30) == code
                assert time.monotonic() - began < 8
                with asked:
                    asked.settimeout(5)
                    while asked.recv(10_000):
                        pass  # until whoever asked is gone
            finally:
                process.close()
        said = (tmp_path / "log").read_text()
        assert "Traceback" not in said
        assert said.count("stopped") == 1
        assert companions(tmp_path / "store.db") == []

    def test_while_it_loads(self, tmp_path: Path) -> None:
        config = self.config(tmp_path, "http://127.0.0.1:1/fhir")
        records = tmp_path / "records.ndjson"
        records.write_bytes(
            b"".join(
                b'{"resourceType":"Patient","id":"p%d","birthDate":"1912-12-12"}\n' % at
                for at in range(6_000)
            )
        )
        command = ("fhir_coprod", "--config", str(config), "load", str(records))
        with (tmp_path / "log").open("w") as log:
            process = programs.start(*command, stderr=log)
            try:
                store = tmp_path / "store.db"

                def stored() -> int:
                    with (
                        suppress(sqlite3.Error),
                        closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as other,
                    ):
                        return int(
                            other.execute("SELECT count(*) FROM resource WHERE type='Patient'").fetchone()[0]
                        )
                    return 0

                until(lambda: stored() > 0)
                process.terminate()
                assert process.wait(30) == 143
                assert 0 < stored() < 6_000
            finally:
                process.close()
        assert (tmp_path / "log").read_text() == "fhir-coprod: stopped before it was done.\n"
        assert programs.run(*command).returncode == 0
        assert companions(store) == []
        assert stored() == 6_000

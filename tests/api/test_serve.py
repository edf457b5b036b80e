"""The server as a process: where it listens, what it refuses, how it stops; over a real socket."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from fhir_coprod.api.server import require_safe
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import Settings, StoreSettings
from tests import programs
from tests.api.conftest import FHIR, patient
from tests.api.server import Served, serving

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('serve') / 'store.db'}") as running:
        yield running


def refusal(*arguments: str, store: str = "sqlite://") -> tuple[int, str]:
    """Exit code and stderr of a server that should not start."""
    environment = {**os.environ, "COPROD_STORE__URL": store}
    done = programs.run("fhir_coprod", "serve", *arguments, env=environment)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_listens_on_loopback_and_works_end_to_end(served: Served) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    created = requests.post(f"{served.url}/Patient", json=patient(), headers=FHIR, timeout=10)
    assert created.status_code == 201
    stored = requests.get(created.headers["location"], timeout=10)
    assert stored.content == created.content
    found = requests.get(f"{served.url}/Patient", params={"_id": created.json()["id"]}, timeout=10).json()
    assert found["total"] == 1
    assert requests.get(served.url.removesuffix("fhir") + "health", timeout=10).json()["status"] == "ok"
    assert requests.get(f"{served.url}/StructureDefinition/referral-task", timeout=10).status_code == 200


def test_fifty_megabytes_get_413_and_cost_no_memory(served: Served) -> None:
    def peak() -> int:
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    before = peak()
    answer = requests.post(f"{served.url}/Patient", data=b" " * 50_000_000, headers=FHIR, timeout=30)
    assert answer.status_code == 413
    assert "fhir-coprod load" in answer.json()["issue"][0]["diagnostics"]

    def pieces() -> Iterator[bytes]:
        for _ in range(500):
            yield b" " * 100_000

    unannounced = requests.post(f"{served.url}/Patient", data=pieces(), headers=FHIR, timeout=30)
    assert unannounced.status_code == 413
    assert peak() - before < 60_000  # kB; 20 MB may be held before the limit is seen


def test_other_hosts_are_refused(served: Served) -> None:
    answer = requests.get(f"{served.url}/metadata", headers={"Host": "evil.example"}, timeout=10)
    assert answer.status_code == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "coprod.example", ""])
def test_only_loopback_as_long_as_nobody_has_to_say_who_they_are(host: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only this machine is served"):
        require_safe(host, Settings(store=StoreSettings(url=f"sqlite:///{tmp_path / 'a.db'}")))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_served(host: str) -> None:
    require_safe(host, Settings())


def test_other_addresses_end_the_command_with_one_sentence(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"
    code, said = refusal("--host", "0.0.0.0", "--port", "0", store=store)
    assert code == 2
    assert "only this machine is served" in said
    assert said.count("\n") == 1


def test_port_in_use_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = refusal("--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "another program uses that port" in said
    assert said.count("\n") == 1


def test_several_processes_need_postgresql() -> None:
    code, said = refusal("--port", "0", "--workers", "2")
    assert code == 2
    assert "PostgreSQL" in said


def test_wrong_setting_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "coprod.toml"
    file.write_text("[limits]\nbody = 3\n")
    code, said = refusal("--port", "0", "--config", str(file))
    assert code == 2
    assert "unknown key" in said
    assert "body_bytes" in said


def test_requests_under_way_end_before_the_server_does(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'store.db'}") as running:
        statuses: list[int] = []
        under_way, told = threading.Event(), threading.Event()

        def slow_body() -> Iterator[bytes]:
            yield b'{"resourceType":"Patient",'
            under_way.set()
            told.wait(20)
            yield b'"birthDate":"1912"}'

        def post() -> None:
            with requests.Session() as session:
                session.get(f"{running.url}/metadata", timeout=20)  # so that the connection is taken
                answer = session.post(f"{running.url}/Patient", data=slow_body(), headers=FHIR, timeout=20)
            statuses.append(answer.status_code)

        thread = threading.Thread(target=post)
        thread.start()
        under_way.wait(20)
        time.sleep(0.3)  # the server reads what was sent
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.3)  # and the signal
        told.set()
        thread.join(20)
        assert statuses == [201]


def test_killed_in_the_middle_of_writes_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'store.db'}"
    acknowledged: list[str] = []
    with serving(store, stops=False) as running:
        session = requests.Session()

        def write() -> None:
            with suppress(requests.RequestException):
                while True:
                    answer = session.post(f"{running.url}/Patient", json=patient(), headers=FHIR, timeout=10)
                    acknowledged.append(answer.json()["id"])

        thread = threading.Thread(target=write)
        thread.start()
        while len(acknowledged) < 50:
            time.sleep(0.01)
        running.process.kill()
        thread.join(20)
    with serving(store) as again:
        for id in acknowledged:
            assert requests.get(f"{again.url}/Patient/{id}", timeout=10).status_code == 200


class TestUpgradeOffers:
    """Java's own client offers HTTP/2 with its first request; httptools would take the body for a request."""

    def talk(self, served: Served, *parts: bytes) -> bytes:
        """What comes back on one connection for these parts, each sent a moment after the one before.

        Behind them goes a question whose answer ends the connection, and is left out: answers come in turn.
        """
        address = urlsplit(served.url)
        assert address.hostname is not None
        with socket.create_connection((address.hostname, address.port or 0), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            received = b""
            with suppress(ConnectionError):  # of one that was refused the connection is closed before
                for part in (
                    *parts,
                    b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                ):
                    connection.sendall(part)
                    time.sleep(0.05)
            with suppress(ConnectionResetError):
                while chunk := connection.recv(65_536):
                    received += chunk
        return received.partition(b"HTTP/1.1 404")[0]

    def head(self, method: str, path: str, length: int, upgrade: str) -> bytes:
        return (
            f"{method} /fhir/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
            f"Connection: Upgrade, HTTP2-Settings\r\n{upgrade}: h2c\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    @pytest.mark.parametrize("upgrade", ["Upgrade", "upgrade", "UPGRADE"])
    @pytest.mark.parametrize("together", [True, False])
    def test_the_request_is_done_as_if_nothing_had_been_offered(
        self, served: Served, upgrade: str, together: bool
    ) -> None:
        body = b'{"resourceType":"Basic","code":{"text":"x"}}'
        head = self.head("POST", "Basic", len(body), upgrade)
        answer = self.talk(served, head + body) if together else self.talk(served, head, body)
        assert answer.startswith(b"HTTP/1.1 201")

    def test_a_text_that_looks_like_an_offer_is_stored_as_it_came(self, served: Served) -> None:
        """Here a chunk of the body begins with it, behind the line that says how long the chunk is."""
        pieces = (b'{"resourceType":"Basic","code":{"text":"please ', b'upgrade: now"}}')
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        head = (
            b"POST /fhir/Basic HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for parts in ((head + chunks + b"0\r\n\r\n",), (head, chunks, b"0\r\n\r\n")):
            assert b"please upgrade: now" in self.talk(served, *parts)

    @pytest.mark.parametrize("cut", [3, 5, 20])
    @pytest.mark.parametrize("upgrade", ["Upgrade", "uPgRaDe"])
    def test_a_body_is_never_taken_for_a_request(self, served: Served, cut: int, upgrade: str) -> None:
        """Neither when the head comes in parts, nor when the name is oddly spelt."""
        place = f"Basic/{uuid.uuid4().hex}"
        stored = b'{"resourceType":"Basic","id":"%b","code":{"text":"x"}}' % place.partition("/")[2].encode()
        assert b" 201 " in self.talk(
            served,
            f"PUT /fhir/{place} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\n"
            f"Content-Length: {len(stored)}\r\n\r\n".encode()
            + stored,
        )
        smuggled = f"DELETE /fhir/{place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        head = self.head("POST", "Basic/_search", len(smuggled), upgrade)
        at = head.lower().index(b"upgrade:") + cut
        answer = self.talk(served, head[:at], head[at:], smuggled)
        assert answer.count(b"\r\ncache-control: ") == 1, answer
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 415"))
        assert b" 200 " in self.talk(
            served, f"GET /fhir/{place} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )

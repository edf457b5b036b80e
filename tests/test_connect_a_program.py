"""docs/connect-a-program.md as a newcomer follows it: its commands, in its order, on two machines.

The program's machine is a network namespace that reaches the server by a cable of its own. Where none may be
made, the program uses an address of this machine that is not loopback, and the test says so.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "connect-a-program.md").read_text()
PLACES = ("/etc/fhir-coprod", "/var/lib/fhir-coprod", "/etc/ward-board")
BLOCKS = re.findall(r"```(\w+)(?: ([\w.]+))?\n(.*?)```", PAGE, re.DOTALL)
REFERRAL = {
    "resourceType": "ServiceRequest",
    "id": "hip",
    "status": "active",
    "intent": "order",
    "code": {"text": "Hip, please look"},
    "subject": {"display": "somebody"},
}


@dataclass
class Cable:
    """How the program reaches the server.

    address: of the server, as the program sees it
    inside:  what a command is put behind to run on the program's machine
    """

    address: str
    inside: tuple[str, ...] = ()


@pytest.fixture
def cable() -> Iterator[Cable]:
    name, near, far = f"cp{os.getpid()}", f"cpn{os.getpid() % 100_000}", f"cpf{os.getpid() % 100_000}"
    net = f"10.213.{os.getpid() % 250}"
    steps = (
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name {far}",
        f"ip link set {far} netns {name}",
        f"ip addr add {net}.1/24 dev {near}",
        f"ip link set {near} up",
        f"ip netns exec {name} ip addr add {net}.2/24 dev {far}",
        f"ip netns exec {name} ip link set {far} up",
    )
    try:
        for step in steps:
            subprocess.run(shlex.split(step), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        _take_down(name, near)
        yield Cable(_own_address())
        return
    yield Cable(f"{net}.1", ("ip", "netns", "exec", name))
    _take_down(name, near)


def _take_down(name: str, near: str) -> None:
    for step in (("ip", "link", "del", near), ("ip", "netns", "del", name)):
        with suppress(OSError):
            subprocess.run(step, check=False, capture_output=True)


def _own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address but loopback, and no namespace may be made")
        return str(asking.getsockname()[0])


@dataclass
class Machines:
    """The places of the page, below one folder; the commands are typed in a bare shell."""

    root: Path
    cable: Cable
    port: int

    def here(self, text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w/]){place}|(?<=sqlite:///){place}", f"{self.root}{place}", text)
        address = self.cable.address
        text = text.replace("DNS:coprod.example", f"IP:{address}").replace("coprod.example", address)
        return text.replace("8443", str(self.port))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.root),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "200",
        }

    def types(self, commands: str, *, behind: tuple[str, ...] = (), expected: int = 0) -> str:
        done = subprocess.run(
            [*behind, "/bin/sh", "-e", "-c", self.here(commands)],
            env=self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == expected, f"{commands}\n{done.stdout}"
        return done.stdout


def blocks(language: str, kind: str) -> list[str]:
    return [text for found, name, text in BLOCKS if (found, name) == (language, kind)]


@pytest.mark.proof
@pytest.mark.timeout(180)
def test_a_newcomer_connects_a_program_by_the_commands_of_the_page(tmp_path: Path, cable: Cable) -> None:
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    both = Machines(tmp_path, cable, port)
    for place in (*PLACES, "/bin"):
        (tmp_path / place.lstrip("/")).mkdir(parents=True)
    for name, command in (("python", ""), ("fhir-coprod", " -m fhir_coprod")):
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{command} "$@"\n')
        program.chmod(0o755)
    for language, name, text in BLOCKS:
        if language == "python":
            (tmp_path / name).write_text(both.here(text))
    (tmp_path / "referral.ndjson").write_text(json.dumps(REFERRAL))
    (settings,) = blocks("toml", "")
    (tmp_path / "etc/fhir-coprod/coprod.toml").write_text(both.here(settings))
    make_keys, read_referrals = blocks("sh", "program")
    certificate, let_in, take_back = blocks("sh", "server")
    (serve,) = blocks("sh", "serve")

    refused = both.types(serve, expected=2)
    assert "clients add" in refused or "certificate_file" in refused, "nobody is let in before"
    both.types(make_keys, behind=cable.inside)
    assert (tmp_path / "etc/ward-board/private.json").stat().st_mode & 0o077 == 0
    (tmp_path / "etc/fhir-coprod/ward-board.jwks.json").write_bytes(
        (tmp_path / "etc/ward-board/ward-board.jwks.json").read_bytes()
    )
    both.types(certificate)
    (tmp_path / "etc/ward-board/coprod.pem").write_bytes((tmp_path / "etc/fhir-coprod/tls.pem").read_bytes())
    told = both.types(let_in)
    assert "ward-board may call now" in told
    assert "system/ServiceRequest.rs" in told

    arguments = shlex.split(both.here(serve))[1:]
    server = subprocess.Popen(
        [sys.executable, "-m", "fhir_coprod", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=both.environment,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("listening on https://")
        assert both.types(read_referrals, behind=cable.inside).strip() == "hip Hip, please look"
        url = f"https://{cable.address}:{port}"
        ask = (
            "import requests, sys; a = requests.get(sys.argv[1], timeout=10, verify=sys.argv[2]);"
            " print(a.status_code, a.headers.get('strict-transport-security'))"
        )
        pem = f"{tmp_path}/etc/ward-board/coprod.pem"
        for path, status in (("/fhir/ServiceRequest/hip", 401), ("/health", 200), ("/", 401)):
            said = both.types(f'python -c "{ask}" {url}{path} {pem}', behind=cable.inside)
            assert said.split()[0] == str(status), path
            assert "max-age=" in said
        both.types(take_back)
        time.sleep(1.2)
        both.types(read_referrals, behind=cable.inside, expected=1)
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()

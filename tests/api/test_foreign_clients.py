"""FHIR clients of others do what their users do, unaided, against `fhir-coprod serve`.

Each is a script in its own language under tests/peers; all report in the same words, so all are held to the
same.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from fhir_coprod.client import Client
from tests.api.server import serving
from tests.peers import registry, servers

Report = dict[str, Any]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('foreign') / 'store.db'}") as running:
        yield running.url


def _hapi() -> list[str]:
    registry.require(servers.HAPI)
    return servers.hapi_client_command()


def _fhirkit() -> list[str]:
    registry.require(servers.FHIRKIT)
    return servers.fhirkit_command()


def _fhirpy() -> list[str]:
    return [sys.executable, str(servers.FOLDER / "fhirpy_client.py")]


def report(command: Sequence[str], base: str, mark: str) -> Report:
    """What a client's script says happened."""
    done = subprocess.run([*command, base, mark], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: Report = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("command", [_hapi, _fhirkit, _fhirpy], ids=["HAPI", "fhir-kit-client", "fhirpy"])
def test_client_does_what_its_users_do(command: Callable[[], list[str]], base: str) -> None:
    mark = f"M{uuid.uuid4().hex[:12]}"
    said = report(command(), base, mark)
    assert said["software"] == "fhir-coprod"

    # Search with paging: five in pages of two, each once, in the order asked for.
    assert (said["pages"], said["found"]) == (3, said["created"])
    assert len(set(said["created"])) == 5

    # Conditional create: the second time what is there comes back.
    first, second = said["conditional"]
    assert (first["status"], second["status"]) == (201, 200)
    assert first["id"] == second["id"]

    # Transaction: the reference by urn:uuid leads to the patient that came along.
    assert said["transaction"]["statuses"] == ["201 Created", "201 Created"]
    assert said["transaction"]["subject"] == f"Patient/{said['transaction']['patient']}"

    # History, and a conflict that says what to do.
    assert said["history"] == ["2", "1"]
    assert said["conflict"]["status"] == 412
    assert "read it again" in said["conflict"]["text"]
    assert said["gone"]["status"] == 410

    # The server's side of it: nothing more and nothing less was stored.
    with Client(base) as client:
        stored = list(client.search("Patient", {"family": mark}))
        assert {each["id"] for each in stored} == {
            *said["created"][:-1],
            first["id"],
            said["transaction"]["patient"],
        }
        assert client.read("Patient", said["created"][0])["gender"] == "female"

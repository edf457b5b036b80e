"""The fixtures hold what they promise: started once, a fresh database per test, ended with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import requests

from tests.peers import chromium as browser
from tests.peers import registry
from tests.peers.shared import PeerFailed, Run

pytestmark = pytest.mark.long

FHIR_JSON = {"content-type": "application/fhir+json"}


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_an_empty_database_of_its_own(postgresql_database: str, turn: int) -> None:
    with psycopg.connect(postgresql_database) as connection:
        tables = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchone()
        connection.execute("CREATE TABLE mark (n int)")
    assert tables == (0,), f"turn {turn}"


def test_peer_starts_once_whoever_asks(tmp_path: Path) -> None:
    run = Run(tmp_path, os.getpid())
    starts: list[int] = []

    def start() -> dict[str, str]:
        starts.append(1)
        return {"url": "here"}

    assert run.once("peer", start) == run.once("peer", start) == {"url": "here"}
    assert starts == [1]


def test_failed_start_is_not_tried_again_by_each_test(tmp_path: Path) -> None:
    run = Run(tmp_path, os.getpid())

    def start() -> dict[str, str]:
        raise PeerFailed("no luck")

    for _ in range(2):
        with pytest.raises(PeerFailed, match="no luck"):
            run.once("peer", start)


def test_missing_peer_skips_by_name_and_fails_where_required(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = registry.Peer("Nobody's server", lambda: None, "cannot be installed")
    monkeypatch.delenv("COPROD_PEERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="peer missing: Nobody's server"):
        registry.require(absent)
    monkeypatch.setenv("COPROD_PEERS", "required")
    with pytest.raises(pytest.fail.Exception, match="peer missing: Nobody's server"):
        registry.require(absent)


def test_peer_ends_when_the_run_that_owned_it_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = Run(tmp_path, owner.pid)
    guard = run.spawn("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(0.3)
    assert guard.poll() is None
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert guard.wait(timeout=10) != 0


def test_finish_ends_every_peer_and_removes_the_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", os.getpid())
    run.folder.mkdir()
    guard = run.spawn("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"])
    run.finish()
    assert guard.poll() is not None
    assert not run.folder.exists()


@pytest.mark.parametrize("server", ["hapi", "medplum"])
@pytest.mark.timeout(180)
def test_every_test_has_an_empty_fhir_server_of_its_own(server: str, request: pytest.FixtureRequest) -> None:
    new_server: Callable[[], str] = request.getfixturevalue(f"new_{server}")
    first, second = new_server(), new_server()
    patient = {"resourceType": "Patient", "id": "same-id"}
    put = requests.put(f"{first}/Patient/same-id", json=patient, headers=FHIR_JSON, timeout=60)
    assert put.status_code in (200, 201), put.text
    assert requests.get(f"{first}/Patient/same-id", timeout=60).json()["id"] == "same-id"
    assert requests.get(f"{second}/Patient/same-id", timeout=60).status_code == 404
    assert requests.get(f"{second}/Patient", timeout=60).json()["total"] == 0
    assert requests.get(f"{second}/metadata", timeout=60).json()["fhirVersion"] == "4.0.1"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("server", ["hapi", "medplum"])
def test_pages_are_linked(server: str, request: pytest.FixtureRequest) -> None:
    base: str = request.getfixturevalue(f"{server}_url")
    for number in range(5):
        requests.put(
            f"{base}/Patient/p-{number}",
            json={"resourceType": "Patient", "id": f"p-{number}"},
            headers=FHIR_JSON,
            timeout=60,
        )
    url: str | None = f"{base}/Patient?_count=2"
    seen: list[str] = []
    while url:
        page = requests.get(url, timeout=60).json()
        seen += [entry["resource"]["id"] for entry in page.get("entry", ())]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
    assert sorted(seen) == [f"p-{number}" for number in range(5)]


def test_chromium_takes_a_picture(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>t</title><p id=a></p><script>a.textContent = 1 + 1</script>")
    browser.screenshot(page.as_uri(), tmp_path / "page.png", width=400, height=300)
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    assert '<p id="a">2</p>' in browser.rendered(page.as_uri())

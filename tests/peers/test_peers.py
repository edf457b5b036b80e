"""The fixtures hold what they promise: started once, a fresh database per test, ended with the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.peers import registry
from tests.peers.shared import PeerFailed, Run


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

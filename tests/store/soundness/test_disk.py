"""A disk that is full or read-only: named as such by commands, /health and metrics, and over when it is over.

The disks are real: small file systems in memory, which only root may mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.errors import Unwritable
from fhir_coprod.store import Store
from tests import programs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


def mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of twelve megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)):
        pytest.skip("this machine lets nobody mount a disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def patients(count: int) -> bytes:
    text = "x" * 2000
    return b"\n".join(
        jsontext.encode({"resourceType": "Patient", "id": f"p{n}", "name": [{"text": f"{n} {text}"}]})
        for n in range(count)
    )


def test_load_says_how_many_were_written_before_the_disk_was_full_and_goes_on(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "many.ndjson").write_bytes(patients(4000))
    url = f"sqlite:///{disk}/store.db"
    monkeypatch.setenv("COPROD_STORE__URL", url)
    done = CliRunner().invoke(app, ["load", str(tmp_path / "many.ndjson")])
    assert isinstance(done.exception, Unwritable)
    assert done.exception.exit_code == 1
    said = done.exception.message
    assert "disk of the database is full" in said
    assert "try again" not in said
    with Store.open(url) as store:
        assert f"{store.head()} records were written before that" in said
        assert 0 < store.head() < 4000
    assert mounted("-o", "remount,size=200m", str(disk))
    assert CliRunner().invoke(app, ["load", str(tmp_path / "many.ndjson")]).exit_code == 0
    with Store.open(url) as store:
        assert store.head() == 4000
    assert CliRunner().invoke(app, ["db", "check"]).exit_code == 0


@contextmanager
def serving(url: str, folder: Path) -> Iterator[str]:
    """Base URL of an endpoint in a process of its own; its stderr is in serve.log."""
    environment = {**os.environ, "COPROD_STORE__URL": url}
    with (folder / "serve.log").open("wb") as errors:
        process = programs.start(
            *("fhir_coprod", "serve", "--port", "0", "--no-jobs"),
            stdout=programs.PIPE,
            stderr=errors,
            cwd=folder,
            env=environment,
        )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split("listening on ")[1].split("/fhir")[0]
        finally:
            process.terminate()
            process.wait(20)
            process.close()


def health(base: str) -> tuple[int, str]:
    answer = requests.get(f"{base}/health", timeout=30)
    return answer.status_code, answer.json()["status"]


def metric(base: str, name: str) -> float:
    lines = requests.get(f"{base}/metrics", timeout=30).text.splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def put(base: str, id: str) -> Any:
    body = {"resourceType": "Patient", "id": id, "active": True}
    return requests.put(f"{base}/fhir/Patient/{id}", json=body, timeout=60)


def until(base: str, wanted: tuple[int, str]) -> None:
    deadline = time.monotonic() + 20
    while (seen := health(base)) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


def test_health_says_that_the_disk_is_full_and_is_well_again_by_itself(disk: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{disk}/store.db"
    Store.open(url).close()
    with serving(url, tmp_path) as base:
        assert put(base, "a").status_code == 201
        assert health(base) == (200, "ok")
        assert metric(base, "coprod_store_free_bytes") > 4_000_000
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        answers = [put(base, f"b{number}") for number in range(40)]
        refused = next(answer for answer in answers if answer.status_code != 201)
        assert refused.status_code == 503
        assert refused.json()["issue"][0]["code"] == "no-store"
        assert "disk of the database is full" in refused.text
        assert health(base) == (503, "disk-full")
        assert metric(base, 'coprod_store_state{state="disk-full"}') == 1
        assert requests.get(f"{base}/fhir/Patient/a", timeout=30).status_code == 200
        ballast.unlink()
        until(base, (200, "ok"))
        assert put(base, "c").status_code == 201
    assert "disk of the database is full" in (tmp_path / "serve.log").read_text()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    assert mounted("-o", "remount,ro", str(disk))
    try:
        yield
    finally:
        mounted("-o", "remount,rw", str(disk))


def test_health_says_that_the_store_is_read_only_and_is_well_again_by_itself(
    disk: Path, tmp_path: Path
) -> None:
    with Store.open(f"sqlite:///{disk}/first.db") as store:
        store.write(lambda t: t.put(jsontext.from_data({"resourceType": "Patient"}), "a"))
        for companion in ("", "-wal", "-shm"):  # as a kill leaves them
            shutil.copy(disk / f"first.db{companion}", disk / f"store.db{companion}")
    with read_only(disk), serving(f"sqlite:///{disk}/store.db", tmp_path) as base:
        assert health(base) == (503, "read-only")
        assert metric(base, 'coprod_store_state{state="read-only"}') == 1
        assert requests.get(f"{base}/fhir/Patient/a", timeout=30).status_code == 200
        refused = put(base, "b")
        assert (refused.status_code, refused.json()["issue"][0]["code"]) == (503, "no-store")
        assert "read-only" in refused.text
        assert mounted("-o", "remount,rw", str(disk))
        until(base, (200, "ok"))
        assert put(base, "b").status_code == 201


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",), ("watch",), ("db", "check")])
def test_what_cannot_start_on_a_read_only_disk_says_why(
    disk: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """SQLite needs to make companions of the file, even to read it."""
    url = f"sqlite:///{disk}/store.db"
    Store.open(url).close()
    for companion in ("-wal", "-shm"):
        Path(f"{disk}/store.db{companion}").unlink(missing_ok=True)
    with read_only(disk):
        environment = {**os.environ, "COPROD_STORE__URL": url}
        done = programs.run("fhir_coprod", *command, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "read-only" in done.stderr
    assert "try again" not in done.stderr

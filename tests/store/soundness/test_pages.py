"""Random bytes over pages of the SQLite file: a command is right, or says that it is damaged."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import CoprodError, Damaged
from fhir_coprod.settings import Settings

COUNT = int(os.environ.get("PAGES", "20" if os.environ.get("PROOF_SIZE") == "ci" else "200"))
COMMANDS = (
    ("quality", "--json"),
    ("alerts", "list", "--json"),
    ("dead-letters", "list", "--json"),
    ("people", "list", "--json"),
    ("watch", "--json", "--now", "2026-07-01T12:00:00Z"),
    ("load", "own.ndjson"),
)

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]


def run(*command: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(app, list(command))
    error = None if isinstance(done.exception, SystemExit) else done.exception
    return done.exit_code, done.stdout, error


def test_every_command_is_right_or_names_the_damage(
    synced_hospital: tuple[str, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = synced_hospital
    file = Path(url.removeprefix("sqlite:///"))
    shutil.copy(file.parent / "coprod.toml", tmp_path / "coprod.toml")
    shutil.copy(file.parent / "own.ndjson", tmp_path / "own.ndjson")
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy.db"
    monkeypatch.setenv("COPROD_STORE__URL", f"sqlite:///{copy}")

    def fresh() -> None:
        for companion in ("", "-wal", "-shm"):
            Path(f"{copy}{companion}").unlink(missing_ok=True)
        shutil.copy(file, copy)

    right = {}
    for command in COMMANDS:
        fresh()
        right[command] = run(*command)[:2]
    told: Counter[str] = Counter()
    wrong = []
    for seed in range(COUNT):
        chosen = random.Random(seed)
        fresh()
        data = bytearray(copy.read_bytes())
        for _ in range(chosen.choice((1, 3, 10))):
            page = chosen.randrange(len(data) // 4096) * 4096
            size = chosen.choice((4, 64, 4096))
            at = page + (chosen.randrange(4096 - size) if size < 4096 else 0)
            data[at : at + size] = chosen.randbytes(size)
        copy.write_bytes(data)
        damaged = copy.read_bytes()
        seen = run("db", "check")
        for command in chosen.sample(COMMANDS, 2):
            copy.write_bytes(damaged)
            for companion in ("-wal", "-shm"):
                Path(f"{copy}{companion}").unlink(missing_ok=True)
            code, out, error = run(*command)
            if isinstance(error, Damaged):
                verdict = "names it"
            elif error is None and (code, out) == right[command]:
                verdict = "right"
            elif error is None and seen[0]:
                verdict = "goes by what it reads; db check names it"
            else:
                verdict = f"WRONG: {type(error).__name__} {error if isinstance(error, CoprodError) else ''}"
                wrong.append((seed, command, verdict))
            told[verdict] += 1
            print(seed, command[0], verdict, flush=True)
        told[f"db check: {seen[0]}{' ' + type(seen[2]).__name__ if seen[2] else ''}"] += 1
    print(told)
    assert wrong == []

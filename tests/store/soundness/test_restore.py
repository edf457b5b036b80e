"""What docs/operations.md says about restoring a backup, done to a store that was really damaged."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from fhir_coprod import jsontext
from fhir_coprod.cli import app
from fhir_coprod.errors import CoprodError
from fhir_coprod.store import Store
from tests.peers.postgresql import Databases

TEXT = (Path(__file__).parents[3] / "docs/operations.md").read_text()


def fill(url: str) -> None:
    with Store.open(url) as store:
        for number in range(300):
            document = jsontext.from_data({"resourceType": "Patient", "name": [{"family": f"Name{number}"}]})
            store.submit(lambda t, document=document, number=number: t.put(document, f"p{number}"))


def check() -> tuple[int, str]:
    done = CliRunner().invoke(app, ["db", "check"])
    # Where the damage hits what is needed to open the store, that is told as an error.
    error = done.exception.message if isinstance(done.exception, CoprodError) else ""
    return done.exit_code, done.output + error


def test_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", "sqlite:///coprod.db")
    fill("sqlite:///coprod.db")
    assert "sqlite3 coprod.db \".backup 'coprod-copy.db'\"" in TEXT
    source, target = sqlite3.connect("coprod.db"), sqlite3.connect("coprod-copy.db")
    source.backup(target)  # what the command does, which is not on every machine
    source.close()
    target.close()
    whole = Path("coprod.db").read_bytes()
    Path("coprod.db").write_bytes(
        whole[: len(whole) // 2] + b"\x5a" * 20_000 + whole[len(whole) // 2 + 20_000 :]
    )
    code, said = check()
    assert code in (1, 2)
    assert "restore the backup" in said.lower()
    shutil.copy("coprod-copy.db", "coprod.db")
    for companion in ("coprod.db-wal", "coprod.db-shm"):
        assert f"`{companion}`" in TEXT
        Path(companion).unlink(missing_ok=True)
    assert check()[0] == 0


def test_postgresql(
    databases: Databases, postgresql_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumper, restorer = shutil.which("pg_dump"), shutil.which("pg_restore")
    if dumper is None or restorer is None:
        pytest.skip("peer missing: pg_dump (install Debian's postgresql-client)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COPROD_STORE__URL", postgresql_store)
    fill(postgresql_store)
    assert "pg_dump -Fc -f coprod.dump" in TEXT
    subprocess.run([dumper, "-Fc", "-f", "coprod.dump", postgresql_store], check=True)
    with psycopg.connect(postgresql_store) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM version WHERE position BETWEEN 100 AND 120")
        connection.execute("UPDATE version SET body = '{}' WHERE position = 7")
        connection.execute("DELETE FROM received WHERE position = 9")
    code, said = check()
    assert code == 1
    assert "gap in the log: positions 100 to 120" in said
    assert "Patient/p6/_history/1 (the body is that of another resource)" in said
    assert "Restore the backup" in said or "restore the backup" in said
    assert "pg_restore -d" in TEXT
    restored = databases.new()
    try:
        subprocess.run([restorer, "-d", restored, "coprod.dump"], check=True)
        monkeypatch.setenv("COPROD_STORE__URL", restored)
        assert check()[0] == 0
    finally:
        databases.drop(restored)

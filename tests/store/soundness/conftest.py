"""A store in which every floor has written: two EHRs synced, files loaded, the watch has judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.settings import Settings
from tests import programs

OWN = b"""{"resourceType":"Patient","id":"good","active":true}
{"resourceType":"Patient","id":"odd","gender":"odd"}
{broken
{"resourceType":"Observation","id":"o!","subject":{"reference":"Patient/good"}}
"""


def command(folder: Path, *arguments: str) -> None:
    done = programs.run("fhir_coprod", *arguments, cwd=folder, timeout=600)
    assert done.returncode in (0, 1), done.stderr[-2000:]


@pytest.fixture(scope="session")
def synced_hospital(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings]:
    """URL of the store, an SQLite file that nobody has open, and its settings."""
    folder = tmp_path_factory.mktemp("synced")
    (folder / "coprod.toml").write_text("")
    blocks = []
    servers = []
    try:
        for name, noise in (("north", "clean"), ("south", "bad")):
            own = folder / name
            own.mkdir()
            (own / "coprod.toml").write_text(f'[store]\nurl = "sqlite:///{own}/ehr.db"\n')
            command(own, "simulate", "files", "--patients", "12", "--noise", noise)
            command(own, "load", "files")
            server = programs.start(
                *("fhir_coprod", "serve", "--port", "0", "--no-jobs"),
                stdout=programs.PIPE,
                stderr=programs.DEVNULL,
                cwd=own,
            )
            servers.append(server)
            assert server.stdout is not None
            address = server.stdout.readline().split("listening on ")[1].split()[0]
            blocks.append(f'[[ehr]]\nname = "{name}"\nurl = "{address}"\nrequests_per_second = 1000\n')
        file = folder / "store.db"
        (folder / "coprod.toml").write_text("\n".join([f'[store]\nurl = "sqlite:///{file}"', *blocks]))
        (folder / "own.ndjson").write_bytes(OWN)
        command(folder, "sync")
        command(folder, "load", "own.ndjson")
        command(folder, "watch", "--json")
    finally:
        for server in servers:
            server.terminate()
            server.wait(20)
            server.close()
    return f"sqlite:///{file}", Settings.load(folder / "coprod.toml")

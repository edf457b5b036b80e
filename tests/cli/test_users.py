"""`fhir-coprod users`: gives, lists and takes back, and says what it cannot do in a sentence."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_coprod.access import sessions
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from tests import programs

CONFIG = """
[store]
url = "sqlite:///coprod.db"

[site]
base_url = "https://coprod.example/fhir"

[access.sign_in]
issuer = "https://login.example/realm"
client_id = "coprod"
roles_claim = "roles"

[access.roles.coordinator]
scopes = ["user/*.rs"]
"""
NAME = "https://login.example/realm|s-1"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "coprod.toml"
    file.write_text(CONFIG)
    Store.open(f"sqlite:///{tmp_path / 'coprod.db'}").close()
    return file


def users(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run("fhir_coprod", "users", *arguments, "--config", str(config))


def test_who_was_given_a_role_is_listed_until_it_is_taken_back(config: Path) -> None:
    given = users(
        config, "grant", "s-1", "--role", "coordinator", "--department", "Organization/a",
        "--department", "*", "--until", "2099-12-31",
    )  # fmt: skip
    assert given.returncode == 0, given.stderr
    settings = Settings.load(config)
    sign_in = settings.access.sign_in
    assert sign_in is not None
    with Store.open(settings.store.url) as store:
        sessions.begin(store, sign_in, sessions.Person(NAME, "Karin Sand"), datetime.now(UTC))
    listed = json.loads(users(config, "list", "--json").stdout)
    assert [each["department"] for each in listed["grants"]] == ["*", "Organization/a"]
    assert {each["name"] for each in listed["grants"]} == {NAME}
    assert listed["grants"][0]["until"] == "2099-12-31T23:59:59Z"
    assert [each["shown"] for each in listed["signed_in"]] == ["Karin Sand"]
    words = users(config, "list").stdout
    assert "Karin Sand" in words
    assert "2 given, 1 signed in" in words
    revoked = users(config, "revoke", NAME)
    assert "2 taken back, 1 signed out" in revoked.stdout
    assert "bar them there, too" in " ".join(revoked.stderr.split())
    assert json.loads(users(config, "list", "--json").stdout) == {"grants": [], "signed_in": []}
    assert users(config, "revoke", NAME).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--role", "boss", "--department", "*"), "no role 'boss'; known: coordinator"),
        (("--role", "coordinator", "--department", "ortho"), "Name a department as it is here"),
        (("--role", "coordinator", "--department", "*", "--until", "2001-01-01"), "over already"),
        (("--role", "coordinator", "--department", "*", "--until", "soon"), "is not a time"),
    ],
)
def test_what_cannot_be_given_is_said_in_a_sentence(
    config: Path, arguments: tuple[str, ...], said: str
) -> None:
    ended = users(config, "grant", "s-1", *arguments)
    assert ended.returncode == 2
    assert said in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr

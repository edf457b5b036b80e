"""`fhir-coprod objections`, `glass` and `people joined`: what is listed, what is said, what is refused."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_coprod.access import glass, sessions
from fhir_coprod.access.sessions import Person
from fhir_coprod.access_settings import SignInSettings
from fhir_coprod.jsontext import from_data
from fhir_coprod.store import Store, joins
from tests import programs
from tests.access.callers import CALLERS
from tests.access.test_objections import refusal

NOW = datetime.now(UTC)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "coprod.toml"
    file.write_text('[store]\nurl = "sqlite:///coprod.db"\n')
    return file


def opened(config: Path) -> Store:
    return Store.open(f"sqlite:///{config.parent / 'coprod.db'}")


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return programs.run("fhir_coprod", *arguments, "--config", str(config))


def test_objections_are_listed_with_what_counts_for_more_than_it_says(config: Path) -> None:
    with opened(config) as store:
        data = refusal("Patient/p", "Organization/A", purpose=[{"code": "TREAT"}])
        store.write(lambda t: t.put(from_data({**data, "id": "c"}), "c"))
    said = run(config, "objections")
    assert said.returncode == 0, said.stderr
    assert "Consent/c: Patient/p refuses department A" in said.stdout
    assert "counts for all of it" in said.stdout
    (one,) = json.loads(run(config, "objections", "--json").stdout)
    assert one["against"] == ["department A"]
    assert one["notes"]


def test_a_broken_glass_is_listed_until_somebody_else_has_looked_at_it(config: Path) -> None:
    settings = SignInSettings(issuer="https://login.test", client_id="pages")
    with opened(config) as store:
        cookie = sessions.begin(store, settings, Person("https://login.test|7", "Nadia"), NOW)
        with store.connect() as connection:
            session = sessions.find(connection, settings, cookie, NOW)
        assert session is not None
        one = glass.begin(store, CALLERS["person of A"], session, "p", "BTG", "on the floor", NOW)
    assert "1 to look at" in run(config, "glass", "list").stdout
    refused = run(config, "glass", "reviewed", one.id, "--by", "Nadia")
    assert refused.returncode != 0
    assert "Somebody else" in refused.stderr
    assert run(config, "glass", "reviewed", one.id, "--by", "Omar").returncode == 0
    assert json.loads(run(config, "glass", "list", "--unreviewed", "--json").stdout) == []
    assert json.loads(run(config, "glass", "list", "--json").stdout)[0]["reviewer"] == "Omar"


def test_who_was_joined_is_listed_until_a_person_confirms_it(config: Path) -> None:
    with opened(config) as store:
        for id in ("a", "b"):
            document = from_data({"resourceType": "Patient", "id": id})
            store.write(lambda t, id=id, document=document: t.put(document, id))
        store.write(lambda t: joins.join(t, "a", "b"))
    waiting = [{"patient": "Patient/a", "former": "Patient/b"}]
    assert json.loads(run(config, "people", "joined", "--json").stdout) == waiting
    assert run(config, "people", "confirm", "Patient/b", "--by", "Karin").returncode != 0
    assert run(config, "people", "confirm", "Patient/a", "--by", "Karin").returncode == 0
    assert "0 to confirm" in run(config, "people", "joined").stdout

"""docs/night-run.md as a newcomer follows it: its commands, in its order, against an EHR behind Keycloak.

The lines of the installation are those of `make sbom`, which CI runs; here the program is that of the tests.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.peers.authority import Realm, signing
from tests.sync.guarded import GuardedEhr
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import serving
from tests.test_docs import cron_line

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "night-run.md").read_text()
TYPES = ("Organization", "Patient", "ServiceRequest", "Task", "Communication")
SCOPES = [f"system/{type}.read" for type in TYPES]
PLACES = ("/opt/fhir-coprod", "/etc/fhir-coprod", "/var/lib/fhir-coprod")


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


class Newcomer:
    """Somebody on a machine of their own: the places of the page are below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for place in ("/opt/fhir-coprod/bin", *PLACES[1:]):
            self.at(place).mkdir(parents=True)
        program = self.at("/opt/fhir-coprod/bin/fhir-coprod")
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m fhir_coprod "$@"\n')
        program.chmod(0o755)

    def at(self, place: str) -> Path:
        return self.root / place.lstrip("/")

    def here(self, text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w/]){place}|(?<=sqlite:///){place}", f"{self.root}{place}", text)
        return text

    def types(self, commands: str, *, expected: int = 0) -> str:
        """Type the lines of a block, in a shell without anything of ours in it; returns what is printed."""
        bare = {"PATH": "/usr/bin:/bin", "HOME": str(self.root), "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", self.here(commands)],
            env=bare,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=110,
        )
        assert done.returncode == expected, f"{commands}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


@pytest.fixture
def realm(keycloak_url: str) -> Realm:
    return Realm(keycloak_url, SCOPES)


@pytest.fixture
def ehr(realm: Realm) -> Iterator[GuardedEhr]:
    public: list[KeySet] = []

    def accepts(token: str) -> bool:
        if not public:
            public.append(realm.key_set())
        try:
            claims = jwt.decode(token, public[0], algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return False
        return bool(time.time() < claims["exp"])

    made = GuardedEhr(token_url=realm.token_url, accepts=accepts)
    made.load(
        organization("orthopaedics", "Orthopaedics"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1"),
        task("t", "Patient/p", "ServiceRequest/s"),
    )
    with serving(made):
        yield made


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_a_newcomer_gets_from_nothing_to_a_nightly_run_by_the_commands_of_the_page(
    newcomer: Newcomer, realm: Realm, ehr: GuardedEhr
) -> None:
    version, keys, check, dry_run, load, doctor, night = blocks("sh")
    (settings,) = blocks("toml")
    assert newcomer.types(version).strip()[0].isdigit()
    config = newcomer.at("/etc/fhir-coprod/coprod.toml")
    config.write_text(newcomer.here(settings).replace("https://ehr.example/fhir", ehr.url))

    told = newcomer.types(keys)
    public = newcomer.at("/var/lib/fhir-coprod/orthopaedics.jwks.json")
    assert "backend system" in told
    realm.create(signing("fhir-coprod", "RS384", json.loads(public.read_text()), SCOPES))

    assert "signed in by a token of" in newcomer.types(check)
    newcomer.types(dry_run)
    written = newcomer.at("/var/lib/fhir-coprod/would-be-written.txt").read_text()
    assert "created ServiceRequest/" in written
    assert not newcomer.at("/var/lib/fhir-coprod/coprod.db").exists()
    assert "1 open, 1 stalled" in newcomer.types(load)
    assert "Nothing is wrong." in newcomer.types(doctor)

    assert newcomer.types(night) == "", "no mail"
    (report,) = json.loads(newcomer.at("/var/lib/fhir-coprod/last-sync.json").read_text())
    assert (report["ok"], report["types"]["Patient"]["unchanged"]) == (True, 1)
    (stalled,) = json.loads(newcomer.at("/var/lib/fhir-coprod/last-watch.json").read_text())
    assert stalled["stalls"]

    realm.change("fhir-coprod", **{"jwks.string": json.dumps({"keys": []})})
    mail = newcomer.types(night.splitlines()[0], expected=1)
    assert len(mail.splitlines()) == 1
    assert "invalid_client" in mail or "unauthorized_client" in mail


def test_the_page_installs_by_the_lines_that_ci_tries() -> None:
    tried = (ROOT / "Makefile").read_text()
    install = blocks("console")[0]
    assert "pip install --require-hashes -r fhir-coprod-requirements.txt" in install
    assert "pip install --no-deps fhir_coprod-" in install
    assert "--require-hashes -r requirements/run.txt" in tried
    assert "cp requirements/run.txt dist/fhir-coprod-requirements.txt" in tried
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"fhir_coprod-{version[1]}-py3-none-any.whl" in install


def test_the_night_run_of_the_page_is_that_of_the_crontab() -> None:
    assert cron_line().split(maxsplit=5)[5] == "; ".join(blocks("sh")[-1].strip().splitlines())

"""Clients of others, and our own sync, sign in at our token endpoint and read, against `fhir-coprod serve`.

HAPI's client, fhir-kit-client and fhirpy have no sign-in for programs of their own: each script signs its
assertion in its own language, and hands the token to the client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import ECKey

from fhir_coprod import jsontext
from fhir_coprod.access import clients
from fhir_coprod.accounts import SmartBackendAuth
from fhir_coprod.settings import EhrSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.access.programs import TYPE, jwk_set
from tests.api.server import serving
from tests.peers import registry, servers

FOLDER = servers.FOLDER / "signin"
REFERRAL = {
    "resourceType": "ServiceRequest",
    "id": "hip",
    "status": "active",
    "intent": "order",
    "subject": {"display": "somebody"},
}


@dataclass
class Site:
    base: str
    kid: str
    pem: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("programs")
    url = f"sqlite:///{folder / 'store.db'}"
    key = ECKey.generate_key("P-384")
    pem = folder / "key.pem"
    pem.write_bytes(key.as_pem(private=True))
    with Store.open(url) as store:
        store.write(lambda transaction: transaction.put(jsontext.from_data(REFERRAL), "hip"))
        jwks, now = jwk_set(key), datetime.now(UTC)
        clients.add(store, "ward", ["system/*.rs"], jwks_url="", jwks=jwks, per_minute=0, now=now)
    with serving(url, COPROD_ACCESS__KEY_FILE=str(folder / "access.json")) as running:
        yield Site(running.url, key.thumbprint(), pem)


def _hapi() -> list[str]:
    registry.require(servers.HAPI)
    *java, _ = servers.hapi_client_command()
    return [*java, str(FOLDER / "SignIn.java")]


def _fhirkit() -> list[str]:
    registry.require(servers.FHIRKIT)
    return ["node", str(FOLDER / "signin.mjs")]


def _fhirpy() -> list[str]:
    return [sys.executable, str(FOLDER / "fhirpy_signin.py")]


@pytest.mark.parametrize("command", [_hapi, _fhirkit, _fhirpy], ids=["HAPI", "fhir-kit-client", "fhirpy"])
def test_a_client_of_others_signs_in_and_reads(command: Callable[[], list[str]], site: Site) -> None:
    done = subprocess.run(
        [*command(), site.base, "ward", site.kid, str(site.pem)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {"refused": 401, "found": ["hip"]}


@pytest.mark.proof
def test_our_own_sync_signs_in_at_our_own_server(site: Site, tmp_path: Path) -> None:
    auth = SmartBackendAuth(type="smart-backend", client_id="ward", key_file=site.pem)
    ehr = EhrSettings(name="other", url=site.base, auth=auth, types=("ServiceRequest",))
    url = f"sqlite:///{tmp_path / 'here.db'}"
    with Store.open(url) as store:
        (report,) = run(store, Settings(store=StoreSettings(url=url), ehr=(ehr,)))
        assert report.ok, report
        assert report.counts["ServiceRequest"].created == 1


@pytest.mark.proof
def test_of_several_processes_one_takes_an_assertion(postgresql_store: str, tmp_path: Path) -> None:
    key = ECKey.generate_key("P-384")
    with Store.open(postgresql_store) as store:
        jwks, now = jwk_set(key), datetime.now(UTC)
        clients.add(store, "ward", ["system/*.rs"], jwks_url="", jwks=jwks, per_minute=0, now=now)
    keys = str(tmp_path / "access.json")
    with serving(postgresql_store, "--workers", "2", COPROD_ACCESS__KEY_FILE=keys) as running:
        place = running.url.removesuffix("/fhir") + "/auth/token"
        header = {"alg": "ES384", "kid": key.thumbprint()}
        claims = {"iss": "ward", "sub": "ward", "aud": place, "jti": "once", "exp": int(time.time()) + 200}
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": TYPE,
            "client_assertion": jwt.encode(header, claims, key, algorithms=["ES384"]),
        }

        def asks(_: int) -> requests.Response:
            return requests.post(place, data=form, timeout=30)  # a connection each, to whichever process

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(asks, range(12)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 11
        (token,) = (answer.json()["access_token"] for answer in answers if answer.status_code == 200)
        for _ in range(8):
            got = requests.get(
                f"{running.url}/Patient", headers={"Authorization": f"Bearer {token}"}, timeout=30
            )
            assert got.status_code == 200, "each process takes it"

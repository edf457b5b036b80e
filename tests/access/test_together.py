"""What nobody may get by way of another part: pages by a token, jobs of others, records by a write."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fhir_coprod.access_settings import AccessSettings, IssuerSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.access.hospital import fill
from tests.access.keyserver import key_server
from tests.access.programs import EC, Program, jwk_set, register, signed
from tests.api.conftest import Api
from tests.peers.fixtures import NewStore

ISSUER = "https://login.example/realms/care"
ROOT = "http://localhost"


class Site:
    """The hospital behind a server that trusts an issuer, whose tokens a test writes."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def token(self, scope: str, *groups: str, **claims: str) -> str:
        """A token of the issuer, for somebody of these departments."""
        now = int(time.time())
        said = {"iss": ISSUER, "aud": "coprod", "sub": "u1", "iat": now, "exp": now + 300}
        said |= {"jti": str(uuid.uuid4()), "scope": scope, "groups": list(groups), **claims}
        return "Bearer " + signed({"alg": "ES384", "kid": EC.thumbprint(), "typ": "at+jwt"}, said, EC)

    def program(self, *scopes: str) -> str:
        """A token of ours, for a program with these scopes."""
        return "Bearer " + Program(self.api, register(self.api.store, *scopes)).token(scope=None)


@pytest.fixture
def site(new_store: NewStore, tmp_path: Path) -> Iterator[Site]:
    with key_server() as keys, new_store("sqlite") as url, Store.open(url) as store:
        keys.body = jwk_set(EC, alg="ES384").encode()
        issuer = IssuerSettings(
            issuer=ISSUER,
            audience="coprod",
            jwks_url=keys.url,
            departments_claim="groups",
            departments={"A": "Organization/A", "B": "Organization/B", "all": "*"},
        )
        access = AccessSettings(key_file=tmp_path / "key.json", issuer=(issuer,))
        fill(store)
        api = Api(store, Settings(store=StoreSettings(url="sqlite://"), access=access))
        yield Site(api)
        api.close()


def test_a_token_opens_no_page_whosoever_it_is(site: Site) -> None:
    """Without a sign-in, pages know nobody: they showed the whole board to a person of one department."""
    holders = [
        site.token("user/*.cruds", "A"),
        site.token("user/*.cruds", "all"),
        site.token("user/*.rs"),
        site.token("patient/*.rs", patient="p1"),
        site.program("system/*.cruds"),
    ]
    for token in holders:
        for path in ("/", "/quality", "/operations", "/people", "/referral/ServiceRequest/s3", "/unknown"):
            assert site.api.get(f"{ROOT}{path}", authorization=token).status_code == 403, path
        form = {"authorization": token, "content_type": "application/x-www-form-urlencoded"}
        assert site.api.post(f"{ROOT}/find", b"who=Three", **form).status_code == 403
    assert site.api.get("Patient/p1", authorization=holders[0]).status_code == 200


def test_figures_of_the_whole_server_are_for_programs(site: Site) -> None:
    far = {"x_forwarded_for": "203.0.113.7"}
    for token in (site.token("user/*.cruds", "all"), site.token("patient/*.rs", patient="p1")):
        assert site.api.get(f"{ROOT}/metrics", authorization=token, **far).status_code == 403
        assert site.api.get(f"{ROOT}/openapi.json", authorization=token).status_code == 200
    program = site.program("system/Patient.r")
    assert site.api.get(f"{ROOT}/metrics", authorization=program, **far).status_code == 200


def test_whoever_may_export_nothing_takes_no_place_from_others(site: Site) -> None:
    later = {"prefer": "respond-async"}
    for token in (
        site.token("user/*.cruds", "all"),
        site.token("patient/*.rs", patient="p1"),
        site.program("system/Patient.r"),
        site.program("system/Observation.rs?code=a"),
    ):
        for url in ("$export", "Patient/$export", "Group/all/$export", "$export?_type=Observation"):
            assert site.api.get(url, authorization=token, **later).status_code == 403, url
    program = site.program("system/Task.rs")
    assert site.api.get("$export", authorization=program, **later).status_code == 202

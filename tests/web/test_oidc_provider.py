"""People sign in to the pages at npm's oidc-provider, a second provider that nobody here wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.store import Store
from tests.api.server import serving
from tests.peers import provider, registry
from tests.peers.chromium import Browser
from tests.peers.shared import free_port
from tests.web.signing_in import fill

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
SECRET = "no secret outside of tests"


@pytest.fixture
def store_file(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store.open(url) as store:
        fill(store)
    return url


def test_a_browser_signs_in_at_oidc_provider_and_signs_out(
    chromium: str, store_file: str, tmp_path: Path
) -> None:
    registry.require(provider.PEER)
    port = free_port()
    home = f"http://127.0.0.1:{port}"
    client = {
        "client_id": "coprod",
        "client_secret": SECRET,
        "redirect_uris": [f"{home}/sign-in/answer"],
        "post_logout_redirect_uris": [f"{home}/signed-out"],
    }
    karin = {"name": "Karin Sand", "roles": ["coordinator"], "groups": ["ortho"]}
    config = tmp_path / "coprod.toml"
    with provider.providing([client], {"karin": karin}) as issuer:
        config.write_text(f"""
[site]
base_url = "{home}/fhir"
[access.sign_in]
issuer = "{issuer}"
client_id = "coprod"
secret_env = "COPROD_TEST_SECRET"
roles_claim = "roles"
departments_claim = "groups"
departments = {{ ortho = "Organization/ortho" }}
[access.roles.coordinator]
scopes = ["user/*.rs"]
""")
        arguments = ("--config", str(config), "--port", str(port))
        with serving(store_file, *arguments, COPROD_TEST_SECRET=SECRET), Browser() as browser:
            browser.go(home)
            browser.click("a", "Sign in")
            assert browser.url.startswith(f"{issuer}/interaction/")
            browser.fill("input[name=login]", "karin")
            browser.fill("input[name=password]", "any")
            browser.click("button")
            browser.click("button", "Continue")
            assert "Anna Berg" in browser.text
            assert "Karin Sand" in browser.text
            browser.click("button", "Sign out")
            for _ in range(20):
                if browser.url.startswith(issuer):
                    break
                browser.rest()
            browser.click("button", "Yes, sign me out")
            assert browser.url == f"{home}/signed-out"
            browser.go(home)
            assert "Anna Berg" not in browser.text

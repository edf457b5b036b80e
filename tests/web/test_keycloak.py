"""A real browser signs in to the pages at a Keycloak, by its own form, and signs out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fhir_coprod.access import grants
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, seals
from tests.api.server import serving
from tests.peers.authority import Realm, for_people
from tests.peers.chromium import Browser
from tests.peers.fixtures import NewStore
from tests.peers.shared import free_port
from tests.watch.hospital import DAY, Hospital
from tests.web.signing_in import fill

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]
SECRET, PASSWORD = "no secret outside of tests", "no password either"


@contextmanager
def pages(folder: Path, realm: Realm, store_url: str, port: int) -> Iterator[str]:
    """`fhir-coprod serve` with this realm as its provider, by two processes where the database lets it;
    yields the address of its pages."""
    home = f"http://127.0.0.1:{port}"
    config = folder / "coprod.toml"
    config.write_text(f"""
[site]
timezone = "Europe/Stockholm"
base_url = "{home}/fhir"

[access.sign_in]
issuer = "{realm.issuer}"
client_id = "coprod"
secret_env = "COPROD_TEST_SECRET"
roles_claim = "roles"
roles = {{ coordinators = "coordinator" }}

[access.roles.coordinator]
scopes = ["user/*.rs", "user/Task.u", "user/Communication.c"]
""")
    workers = "1" if store_url.startswith("sqlite") else "2"
    arguments = ("--config", str(config), "--port", str(port), "--workers", workers)
    environment = {"COPROD_TEST_SECRET": SECRET}
    with serving(store_url, *arguments, **environment):
        yield home


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_browser_signs_in_at_keycloak_sees_the_board_and_signs_out(
    kind: str, keycloak_url: str, chromium: str, new_store: NewStore, tmp_path: Path
) -> None:
    port = free_port()
    home = f"http://127.0.0.1:{port}"
    realm = Realm(keycloak_url, ()).create(for_people("coprod", SECRET, home))
    subject = realm.add_person("karin", PASSWORD, "Karin", "Sand", roles=("coordinators",))
    with new_store(kind, tmp_path) as url:
        with Store.open(url) as store:
            fill(store)
        with pages(tmp_path, realm, url, port), Browser() as browser:
            browser.go(home)
            assert "Anna Berg" not in browser.text
            browser.click("a", "Sign in")
            assert browser.url.startswith(f"{realm.issuer}/protocol/openid-connect/auth?")
            browser.fill("#username", "karin")
            browser.fill("#password", "wrong")
            browser.click("#kc-login")
            assert browser.url.startswith(keycloak_url)
            browser.fill("#username", "karin")
            browser.fill("#password", PASSWORD)
            browser.click("#kc-login")

            assert "You have no role here yet" in browser.text, "a role, but no department"
            assert f"{realm.issuer}|{subject}" in browser.text
            name = f"{realm.issuer}|{subject}"
            role = {"coordinator": {"scopes": ["user/*.rs", "user/Task.u", "user/Communication.c"]}}
            known = Settings(access={"roles": role})
            with Store.open(url) as store:
                given = [(name, "coordinator", "Organization/ortho")]
                grants.grant(store, known, given, None, datetime.now(UTC))
            browser.go(home)
            assert "Anna Berg" in browser.text
            assert "Karin Sand" in browser.text

            browser.click(".case .what a")
            browser.click(".letters a")
            browser.click("button", "I have read it")
            assert "released by Karin Sand" in browser.text

            browser.click("button", "Sign out")
            for _ in range(20):
                if browser.url.startswith(keycloak_url):
                    break
                browser.rest()
            browser.click("#kc-logout")
            assert browser.url == f"{home}/signed-out"
            browser.go(home)
            assert "Anna Berg" not in browser.text
            browser.click("a", "Sign in")
            assert browser.run("!!document.querySelector('#password')"), "signed out there, too"
            assert not [words for words in browser.refused if "policy" in words.lower()]


def test_a_letter_needs_the_password_anew_after_a_while(
    keycloak_url: str, chromium: str, new_store: NewStore, tmp_path: Path
) -> None:
    port = free_port()
    home = f"http://127.0.0.1:{port}"
    realm = Realm(keycloak_url, ()).create(for_people("coprod", SECRET, home))
    realm.add_person("karin", PASSWORD, "Karin", "Sand")
    with new_store("sqlite", tmp_path) as url:
        with Store.open(url) as store:
            hospital = Hospital(store)
            hospital.refer("late", authored=datetime.now(UTC) - 40 * DAY)
            hospital.sweep(datetime.now(UTC))
        with pages(tmp_path, realm, url, port), Browser() as browser:
            browser.go(home)
            browser.click("a", "Sign in")
            browser.fill("#username", "karin")
            browser.fill("#password", PASSWORD)
            browser.click("#kc-login")
            role = {"coordinator": {"scopes": ["user/*.rs", "user/Communication.c"]}}
            with Store.open(url) as store:
                with store.connect() as connection:
                    [name] = connection.exec_driver_sql("SELECT name FROM session").scalars()
                known = Settings(access={"roles": role})
                grants.grant(store, known, [(name, "coordinator", "*")], None, datetime.now(UTC))
            letter = f"{home}/referral/ServiceRequest/late/letter?about=unacknowledged&language=sv"
            browser.go(letter)
            with Store.open(url) as store:  # a while passes
                [row] = _session(store)
                store.write(lambda t: t.session.run("DELETE FROM session"))
                _put_older(store, row)
            browser.click("button", "I have read it")
            assert "Is it still you?" in browser.text
            browser.click("a", "Sign in again")
            assert browser.run("!!document.querySelector('#password')"), "Keycloak asks anew"
            browser.fill("#password", PASSWORD)
            browser.click("#kc-login")
            assert browser.url == letter
            browser.click("button", "I have read it")
            assert "released by Karin Sand" in browser.text


def _session(store: Store) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM session")]


def _put_older(store: Store, row: tuple[object, ...]) -> None:
    """The same sign-in, proven an hour before."""
    known = [*row[:7]]
    known[5] = int(str(known[5])) - 3_600_000
    older = (*known, *row[7:10], seals.seal(tuple(known)))
    store.write(lambda t: t.session.run(f"INSERT INTO session VALUES ({','.join('?' * 11)})", older))

"""The demo's own provider: one click is enough, and nothing but the demo can use it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

import fhir_coprod
from fhir_coprod import jsontext
from fhir_coprod.demo.hospital import departments
from fhir_coprod.demo.provider import CLIENT
from fhir_coprod.demo.staff import PEOPLE, signing_in
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from tests.web.signing_in import Visit

HOME = "http://127.0.0.1:8000"


@pytest.fixture
def visit(tmp_path: Path) -> Iterator[Visit]:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        documents = [
            jsontext.from_data(one)
            for records in departments(datetime.now(UTC)).values()
            for one in records
            if one["resourceType"] in ("Organization", "Patient") and one["id"].startswith("or-")
        ]
        store.write(lambda t: [t.put(one, one.data["id"]) for one in documents])
        with signing_in(store, Settings(), HOME) as chosen:
            yield Visit(store, chosen, host=HOME, address="127.0.0.1", real=True)


def be(visit: Visit, who: str) -> httpx.Response:
    """Open the board, and click on somebody."""
    assert visit.ask("/").headers["location"] == "/sign-in?to=/"
    page = httpx.get(visit.ask("/sign-in?to=/").headers["location"])
    assert "demo's own sign-in, for development" in page.text
    link = next(one for one in re.findall(r'href="([^"]+)"', page.text) if one.endswith(f"be={who}"))
    back = httpx.get(f"{page.url.scheme}://{page.url.netloc.decode()}{unescape(link)}").headers["location"]
    assert back.startswith(f"{HOME}/sign-in/answer?")
    return visit.ask(back.removeprefix(HOME))


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("coordinator", "coordinator, all departments"),
        ("physician", "physician, Orthopaedics, County Hospital"),
    ],
)
def test_one_click_makes_one_somebody(visit: Visit, who: str, shown: str) -> None:
    assert be(visit, who).headers["location"] == "/"
    page = visit.ask("/").text
    assert next(one.name for one in PEOPLE if one.key == who) in page
    assert shown in page


def test_a_code_of_the_provider_works_once_and_only_with_its_proof(visit: Visit) -> None:
    way_in = visit.ask("/sign-in").headers["location"]
    issuer = f"http://{urlsplit(way_in).netloc}"
    code = httpx.get(f"{way_in}&be=coordinator").headers["location"].partition("code=")[2].partition("&")[0]
    asked = {"grant_type": "authorization_code", "code": code, "client_id": CLIENT}
    wrong = httpx.post(f"{issuer}/token", data={**asked, "code_verifier": "x" * 43})
    assert wrong.status_code == 400
    assert httpx.post(f"{issuer}/token", data=asked).status_code == 400
    elsewhere = re.sub("redirect_uri=[^&]+", "redirect_uri=https://evil.example", way_in)
    assert httpx.get(elsewhere).status_code == 400
    out = httpx.get(f"{issuer}/logout?post_logout_redirect_uri=https://evil.example")
    assert "location" not in out.headers


def test_only_the_demo_knows_its_provider() -> None:
    package = Path(fhir_coprod.__file__).parent
    for file in package.rglob("*.py"):
        if "demo" in file.relative_to(package).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fhir_coprod.demo"):
                assert file.name == "demo.py", file
                assert file.parent.name == "cli"
    assert "demo" not in str(Settings.model_json_schema()["$defs"]["SignInSettings"]["properties"])

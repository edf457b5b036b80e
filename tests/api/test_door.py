"""Whoever comes in passes one door, `security.admit`, where scopes and compartments will stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fhir_coprod.api import security
from fhir_coprod.api.table import TABLE
from fhir_coprod.errors import NotAllowed
from tests.api.conftest import Api, outcome

REFUSED = "Refused for the test."


@pytest.fixture
def guarded(sqlite_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> Any:
    """An endpoint whose door lets nothing in but bundles, and what it was asked to let in."""
    asked: list[tuple[str, str, str]] = []

    def admit(interaction: str, type: str, id: str, caller: object) -> None:
        asked.append((interaction, type, id))
        if interaction != "transaction":
            raise NotAllowed(REFUSED)

    monkeypatch.setattr(security, "admit", admit)
    return sqlite_api(), asked


def places() -> list[tuple[str, str, str]]:
    """Interaction, method and a URL of every row of the route table."""
    found = []
    for row in TABLE:
        url = row.path.replace("{type:fhir_type}", "Task").replace("{id:fhir_id}", "a")
        url = url.replace("{owner:fhir_owner}", "Patient").replace("{member:fhir_member}", "Task")
        url = url.replace("{version}", "1").replace("{type:fhir_patient}", "Patient")
        url = url.replace("{type:fhir_group}", "Group").replace("{file:fhir_file}", f"{'0' * 32}.ndjson")
        url = url.replace("{type:fhir_referral}", "ServiceRequest").lstrip("/")
        assert "{" not in url, f"{row.path} has a segment that this test does not fill"
        found += [(row.name, method, url) for method in row.methods]
    return found


@pytest.mark.parametrize(("name", "method", "url"), places())
def test_every_interaction_passes_it(guarded: Any, name: str, method: str, url: str) -> None:
    api, asked = guarded
    body = b'{"resourceType":"Bundle","type":"batch"}' if method != "GET" else b""
    answer = api.request(method, url, content=body, headers={"content-type": "application/fhir+json"})
    assert [interaction for interaction, _, _ in asked] == [name]
    if name != "transaction":
        assert answer.status_code == 403
        assert outcome(answer)["diagnostics"] == REFUSED


@pytest.mark.parametrize("type", ["batch", "transaction"])
def test_every_entry_of_a_bundle_passes_it_too(guarded: Any, type: str) -> None:
    api, asked = guarded
    requests = [(method, url) for name, method, url in places() if name != "transaction" and url]
    entries = [
        {
            "request": {"method": method, "url": url},
            **({"resource": {"resourceType": "Task"}} if method in ("POST", "PUT", "PATCH") else {}),
        }
        for method, url in requests
    ]
    answer = api.post("", {"resourceType": "Bundle", "type": type, "entry": entries})
    names = [interaction for interaction, _, _ in asked]
    assert names == ["transaction", *(name for name, _, url in places() if name != "transaction" and url)]
    if type == "batch":
        told = [entry["response"]["status"] for entry in answer.json()["entry"]]
        assert set(told) == {"403 Forbidden"}
    else:
        assert answer.status_code == 403


def test_it_is_told_what_the_call_is_about(guarded: Any) -> None:
    api, asked = guarded
    api.get("Task/a")
    api.get("Patient?name=x")
    api.get("_history")
    assert asked == [("read", "Task", "a"), ("search-type", "Patient", ""), ("history-system", "", "")]

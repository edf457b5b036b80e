"""What people are told of an EHR: by `ehr check`, by `sync`, and by the watch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync.engine import check
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.rules import policies
from tests.sync.departments import QUICK
from tests.sync.records import patient, referral, task
from tests.sync.test_gaps import by_patient
from tests.sync.test_pages import BASE, answers, has, offer, offers, outcome, page, synced


def coprod(config: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["--config", str(config), *arguments])


@pytest.fixture
def config(store: Store, store_path: str, tmp_path: Path) -> Path:
    file = tmp_path / "coprod.toml"
    file.write_text(
        f'[store]\nurl = "{store_path}"\n[[ehr]]\nname = "care"\nurl = "{BASE}"\n'
        'types = ["Patient", "Task"]\n'
    )
    return file


# --- ehr check ------------------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    ("status", "wrong"), [(404, True), (410, True), (200, False), (403, False), (503, False)]
)
def test_a_department_that_is_not_there_is_told_with_the_name_of_the_ehr(
    config: Path, status: int, wrong: bool
) -> None:
    config.write_text(config.read_text() + 'department = "Organization/typo"\n')
    offers(offer("Patient", "search-type"))
    respx.get(f"{BASE}/Organization/typo").respond(status)
    respx.get(f"{BASE}/Patient").respond(json=has())
    result = coprod(config, "ehr", "check")
    assert result.exit_code == (1 if wrong else 0)
    said = "care: the department Organization/typo of the settings is not at this server; correct it"
    assert (said in result.stderr) is wrong


@respx.mock
def test_an_unknown_vendor_that_searches_only_by_patient_is_told_what_to_write() -> None:
    offers(offer("Patient", "search-type"), offer("Task", "search-type"), offer("Goal", "search-type"))
    respx.get(f"{BASE}/Patient").respond(json=has())
    respx.get(f"{BASE}/Task").respond(400, json=outcome("error", "required"))
    respx.get(f"{BASE}/Goal").respond(403)
    ehr = EhrSettings(name="care", url=BASE, types=("Patient", "Task", "Goal"), patients=("p", "q"))
    respx.get(f"{BASE}/Patient/p").respond(json=patient("p"))
    respx.get(f"{BASE}/Patient/q").respond(404)
    named, refused = check(ehr, politeness=QUICK).wrong
    assert named == "the patient q in `patients` of the settings is not at this server; correct it"
    assert refused.startswith(
        "the server refuses to be searched for Task, Goal. If it only searches by patient"
    )


@respx.mock
def test_the_same_hint_stands_in_a_sync(store: Store) -> None:
    offers(offer("Task", "search-type"))
    respx.get(f"{BASE}/Task").respond(400, json=outcome("error", "required"))
    assert "name its `vendor`" in synced(store, "Task").faults["Task"]


@respx.mock
def test_check_says_what_is_known_so_far(config: Path, store: Store) -> None:
    offers(offer("Patient", "search-type"))
    answers(has("p", total=3))
    synced(store)
    respx.get(f"{BASE}/Patient", params={"_count": "1"}).respond(json=has("p"))
    (told,) = json.loads(coprod(config, "ehr", "check", "--json").stdout)
    assert told["wrong"] == []
    assert told["feeds"]["Patient"].startswith("not whole since ")
    assert told["feeds"]["Patient"].endswith("the server counts 3 records, and 1 came")
    assert "not whole since" in " ".join(coprod(config, "ehr", "check").stdout.split())


# --- sync -----------------------------------------------------------------------------------------


@respx.mock
def test_sync_names_the_ehr_the_type_and_the_patients(store: Store, config: Path, tmp_path: Path) -> None:
    vendor = by_patient(tmp_path, "Task")
    config.write_text(config.read_text() + f'vendor = "{vendor}"\n')
    offers(offer("Patient", "search-type"), offer("Task", "search-type"))
    answers(has("p", "q", total=2))
    respx.get(f"{BASE}/Task", params={"patient": "p"}).respond(403)
    respx.get(f"{BASE}/Task", params={"patient": "q"}).respond(json=has(total=0))
    result = coprod(config, "sync")
    assert result.exit_code == 1
    assert "care: Task: 1 of 2 patients could not be asked for everything" in result.stderr
    assert "  Patient/p: the server refuses us (403)" in result.stderr
    (told,) = json.loads(coprod(config, "sync", "--json").stdout)
    assert list(told["unread"]["Task"]) == ["Patient/p"]
    assert told["feeds"]["Patient"].startswith("whole as of ")
    assert "could not be asked" in told["feeds"]["Task"]


# --- the watch ------------------------------------------------------------------------------------


@respx.mock
def test_a_patient_that_could_not_be_asked_for_costs_nobody_else_a_claim(
    store: Store, tmp_path: Path
) -> None:
    vendor = by_patient(tmp_path, "Task")
    offers(*(offer(type, "search-type") for type in ("Patient", "ServiceRequest", "Task")))
    answers(has("p", "q", total=2))
    orders = [
        {"resource": referral(f"s-{id}", f"Patient/{id}", authoredOn="2026-01-01T10:00:00Z")} for id in "pq"
    ]
    respx.get(f"{BASE}/ServiceRequest").respond(json=page(*orders))
    tasks = {
        id: httpx.Response(
            200, json=page({"resource": task(f"t-{id}", f"Patient/{id}", f"ServiceRequest/s-{id}")})
        )
        for id in "pq"
    }
    for id, answer in tasks.items():
        respx.get(f"{BASE}/Task", params={"patient": id}).mock(return_value=answer)
    types = ("Patient", "ServiceRequest", "Task")
    synced(store, *types, vendor=vendor)
    respx.get(f"{BASE}/Task", params={"patient": "p"}).respond(403)
    synced(store, *types, vendor=vendor)
    settings = Settings(ehr=(EhrSettings(name="care", url=BASE, vendor=vendor, types=types),))
    policy = policies.load("default", settings.site)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    blind = {}
    for found in store.search(Query.parse("ServiceRequest", [])).matches:
        standing = look_at(store, found.reference, policy, now, settings)
        source = str(found.data["meta"]["source"])[-1]
        blind[source] = "Task" in standing.not_observable
    assert blind == {"p": True, "q": False}

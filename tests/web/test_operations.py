"""The page for hospital IT: which EHRs are read, how far, and what runs by itself."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import pauses, runs
from fhir_coprod.sync.engine import run
from fhir_coprod.watch import sweep
from fhir_coprod.watch.rules import policies
from fhir_coprod.web import operations
from tests.sync.conftest import settings_for
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving
from tests.sync.test_cli import BAD
from tests.web.test_people import ask

NOW = datetime.now(UTC)


@pytest.fixture
def care() -> Iterator[Ehr]:
    ehr = Ehr().load(organization("care", "GP"), patient("p", "19700102"), referral("s", "Patient/p", "R1"))
    with serving(ehr):
        yield ehr


@pytest.fixture
def settings(store_url: str, care: Ehr) -> Settings:
    return settings_for(store_url, on_invalid="refuse", care=care)


@pytest.fixture
def store_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('operations') / 'coprod.db'}"


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.store.url) as opened:
        run(opened, settings)
        sweep(opened, policies.load("default", settings.site), datetime.now(UTC), settings)
        yield opened


def page(store: Store, settings: Settings) -> str:
    answer = ask(store, path="/operations", settings=settings)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", answer.text)))


def last(store: Store) -> runs.Run:
    with store.connect() as connection:
        return runs.last(connection, ["care"])["care"][0]


def test_it_tells_of_each_ehr_how_far_it_is_known_and_of_its_last_runs(
    store: Store, settings: Settings
) -> None:
    told = page(store, settings)
    assert "Everything is read as it should be" in told
    assert "known up to " in told
    assert last(store).run in told
    assert re.search(r"all read [-0-9: ]+ \d+ s 3 ", told)
    assert "Patient" in told
    assert "Öst" not in told, "no names of people"


def test_it_tells_what_was_wrong_and_where_to_look(store: Store, settings: Settings, care: Ehr) -> None:
    care.put(task("bad", "Patient/p", "ServiceRequest/s"))
    care.broken["Task/bad"] = BAD
    run(store, settings)
    told = page(store, settings)
    assert "1 EHR needs a look" in told
    assert "1 record not taken in" in told
    assert "with faults" in told
    assert "1 record not taken in." in told
    assert "fhir-coprod dead-letters list" in told


def test_a_paused_ehr_needs_no_look(store: Store, settings: Settings) -> None:
    pauses.pause(store, "care", NOW + timedelta(days=1), "server <moves>", NOW)
    told = page(store, settings)
    assert "Everything is read as it should be" in told
    assert "server <moves>" in told
    assert "care paused" in told


def test_what_is_known_too_long_ago_needs_a_look(store: Store, settings: Settings) -> None:
    seen = operations.operating(store, settings, NOW + timedelta(hours=30))
    assert (seen.wrong, seen.ehrs[0].grade) == (1, "late")
    assert [good for name, _, good in seen.jobs if name == "Watch"] == [False]


def test_without_an_ehr_it_says_so(store: Store) -> None:
    assert "No EHR is set up" in page(store, Settings())


def test_the_board_leads_there(store: Store, settings: Settings) -> None:
    assert 'href="/operations"' in ask(store, path="/", settings=settings).text

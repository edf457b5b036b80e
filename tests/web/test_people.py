"""The page of pairs in doubt: what it shows, what its form does, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.merging.matches import task_id
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.web import people as web_people
from fhir_coprod.web import routes
from tests.sync.records import patient, referral
from tests.sync.story import ids, told
from tests.sync.test_people import SETTINGS

PAIR = task_id((Record("care", "Patient", "p"), Record("ortho", "Patient", "q")))
SAME = {"pair": PAIR, "word": "same", "by": "Karin Sand"}


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('people') / 'coprod.db'}") as opened:
        told(opened, ("care", patient("p", "19700102")), ("ortho", patient("q", gender="female")))
        told(opened, ("care", referral("s", "Patient/p")))
        yield opened


def ask(
    store: Store,
    form: dict[str, str] | None = None,
    host: str = "127.0.0.1",
    path: str = "/people",
    settings: Settings = SETTINGS,
    **headers: str,
) -> httpx.Response:
    async def go() -> httpx.Response:
        application = Starlette(routes=routes(store, settings))
        transport = httpx.ASGITransport(application, client=(host, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            if form is None:
                return await client.get(path, headers=headers)
            return await client.post(path, data=form, headers=headers)

    return anyio.run(go)


def patients(store: Store) -> int:
    return len(set(ids(store, "Patient").values()))


def test_both_records_stand_side_by_side_and_the_board_leads_there(store: Store) -> None:
    page = ask(store)
    assert page.status_code == 200
    for words in ("care, Patient/p", "ortho, Patient/q", "Eva Öst", "No number in common", "female", PAIR):
        assert words in page.text
    assert "page /people" in ask(store, path="/").text


def test_a_long_list_is_cut_and_says_how_many_more_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "shows all" not in ask(store).text
    told(store, *((ehr, patient("z", gender="male", birthDate="1950-05-05")) for ehr in ("care", "ortho")))
    monkeypatch.setattr(web_people, "MOST", 1)
    page = ask(store).text
    assert PAIR in page, "a referral depends on it"
    assert page.count("<section") == 1
    assert "1 more: <code>fhir-coprod people list</code> shows all." in page


def test_a_person_answers_by_name(store: Store) -> None:
    answer = ask(store, SAME)
    assert (answer.status_code, answer.headers["location"]) == (303, "/people")
    assert patients(store) == 1
    assert "No two records are in doubt" in ask(store).text


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({**SAME, "by": " "}, 400, "Say who you are"),
        ({**SAME, "word": "perhaps"}, 400, "Say whether they are the same person"),
        ({**SAME, "pair": "ffffffff"}, 404, "There is no pair ffffffff"),
        ({}, 400, "Say whether"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    store: Store, form: dict[str, str], status: int, said: str
) -> None:
    answer = ask(store, form or {"x": ""})
    assert answer.status_code == status
    assert said in answer.text
    assert patients(store) == 2


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "elsewhere"])
def test_as_long_as_nobody_can_sign_in_no_page_is_for_another_machine(store: Store, host: str) -> None:
    answer = ask(store, SAME, host)
    assert answer.status_code == 403
    assert "on this machine only" in answer.text
    assert patients(store) == 2
    assert ask(store, host=host).status_code == 403


def test_another_sites_form_joins_nobody(store: Store) -> None:
    assert ask(store, SAME, origin="https://evil.example").status_code in (403, 405)
    assert patients(store) == 2

"""The page on which the glass is broken, and a proxy's page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.jsontext import from_data
from fhir_coprod.store import Store
from tests.access.test_objections import refusal
from tests.access.test_proxies import permit, related
from tests.web.signing_in import settings
from tests.web.test_rights import ORTHO, OTHER, OWN, fill, visitor

FORM = {"system": "urn:numbers", "value": "19", "reason": "ETREAT", "note": "on the floor", "sure": "yes"}


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, new_store: Any, tmp_path: Path) -> Iterator[Store]:
    with new_store(request.param, tmp_path) as url, Store.open(url) as opened:
        fill(opened)
        numbered = opened.read("Patient", "of-other").data
        number = [{"system": "urn:numbers", "value": "19"}]
        put(opened, "of-other", {**numbered, "identifier": number})
        yield opened


def put(store: Store, id: str, data: dict[str, Any]) -> None:
    document = from_data({**data, "id": id})
    store.write(lambda t: t.put(document, id))


def test_the_glass_opens_a_referral_of_others_until_it_is_closed(store: Store) -> None:
    visit = visitor(store, **ORTHO)
    assert visit.ask(OTHER).status_code == 404
    assert visit.send("/glass", FORM).status_code == 303
    assert OTHER in visit.ask("/glass").text
    assert visit.ask(OTHER).status_code == 200
    assert visit.send("/glass", {"close": "yes"}).status_code == 303
    assert visit.ask(OTHER).status_code == 404


def test_it_ends_with_the_sign_in(store: Store) -> None:
    visit = visitor(store, **ORTHO)
    visit.send("/glass", FORM)
    visit.send("/sign-out", {})
    visit.sign_in()
    assert visit.ask(OTHER).status_code == 404


@pytest.mark.parametrize(
    "wrong", [{"value": "20"}, {"reason": ""}, {"reason": "HRESCH"}, {"note": " "}, {"sure": ""}]
)
def test_a_form_that_is_not_whole_opens_nothing(store: Store, wrong: dict[str, str]) -> None:
    visit = visitor(store, **ORTHO)
    said = visit.send("/glass", {**FORM, **wrong})
    assert said.status_code in (400, 404)
    assert 'role="alert"' in said.text
    assert visit.ask(OTHER).status_code == 404


def test_it_needs_the_token_of_this_sign_in_and_a_fresh_one(store: Store) -> None:
    visit = visitor(store, **ORTHO)
    assert visit.ask("/glass", FORM).status_code == 403
    late = visitor(store, **ORTHO, auth_time=1_700_000_000)
    assert late.send("/glass", FORM).status_code == 403
    for one in (visit, late):
        assert one.ask(OTHER).status_code == 404


def test_a_patient_has_no_such_page_and_reads_why_it_was_broken(store: Store) -> None:
    patient = visitor(store, patient="of-other")
    assert patient.ask("/glass").status_code == 404
    assert patient.send("/glass", FORM).status_code == 404
    assert "emergency" not in patient.ask("/").text
    visitor(store, **ORTHO).send("/glass", FORM)
    page = patient.ask("/").text
    assert "treatment in an emergency" in page
    assert "floor" not in page
    assert "Karin Sand" not in page.partition("emergency")[2]


def test_who_is_refused_loses_the_referral_from_the_board(store: Store) -> None:
    visit = visitor(store, **ORTHO)
    assert "Anna Berg" in visit.ask("/").text
    put(store, "no", refusal("Patient/of-late", "Organization/ortho"))
    assert "Anna Berg" not in visit.ask("/").text
    assert visit.ask(OWN).status_code == 404


def test_a_proxy_sees_the_page_of_who_let_them_in_until_that_ends(store: Store) -> None:
    put(store, "rania", related("Patient/of-late"))
    put(store, "yes", permit("Patient/of-late", "RelatedPerson/rania"))
    proxy = visitor(store, settings(related_person_claim="related"), related="rania")
    page = proxy.ask("/")
    assert page.status_code == 200
    assert "Knee" in page.text
    assert "Womb" not in page.text
    assert proxy.ask("/glass").status_code == 404
    visitor(store, **{**ORTHO, "groups": ["gyn"]})
    put(store, "yes", {**permit("Patient/of-late", "RelatedPerson/rania"), "status": "inactive"})
    gone = proxy.ask("/")
    assert gone.status_code == 403
    assert "Knee" not in gone.text


def test_a_proxy_does_not_read_that_the_glass_was_broken(store: Store) -> None:
    put(store, "rania", related("Patient/of-other"))
    put(store, "yes", permit("Patient/of-other", "RelatedPerson/rania"))
    visitor(store, **ORTHO).send("/glass", FORM)
    proxy = visitor(store, settings(related_person_claim="related"), related="rania")
    assert "Womb" in proxy.ask("/").text
    assert "emergency" not in proxy.ask("/").text

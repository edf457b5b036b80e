"""Who came in, went, or was refused is remembered, with what tells the sign-in from others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from fhir_coprod import jsontext
from fhir_coprod.api.auditing import Auditing
from fhir_coprod.audit import fhir
from fhir_coprod.audit.finding import Found, Wanted, every
from fhir_coprod.audit.places import Places
from fhir_coprod.audit_settings import AuditSettings
from fhir_coprod.store import Store
from fhir_coprod.validation import validate
from tests.access.conftest import guarded_api as guarded_api
from tests.access.conftest import program as program
from tests.access.programs import Program
from tests.web.signing_in import ISSUER, Issuer, Visit, settings

COORDINATOR = {"roles": ["coordinator"], "groups": ["ortho"]}


def found(store: Store) -> list[Found]:
    """What is remembered of entrances, the oldest first."""
    places = Places(store.database)
    try:
        every_one = list(every(places, Wanted()))[::-1]
    finally:
        places.close()
    return [one for one in every_one if one.event.interaction in ("sign-in", "sign-out", "token")]


@pytest.fixture
def visit(store_url: str) -> Iterator[Visit]:
    with Store.open(store_url) as store:
        auditing = Auditing(store, AuditSettings())
        yield Visit(store, settings(), Issuer(claims=COORDINATOR), entrance=auditing.keep_entrance)
        auditing.trail.close()


def test_a_person_who_signs_in_and_out_is_remembered(visit: Visit) -> None:
    visit.sign_in()
    cookie = visit.session
    visit.ask("/sign-out", {"token": visit.token("/people")})
    came, went = (one.event for one in found(visit.store))
    assert (came.interaction, came.kind, came.who, came.status) == ("sign-in", "person", f"{ISSUER}|s-1", 200)
    assert (went.interaction, went.who, went.session) == ("sign-out", came.who, came.session)
    assert came.address == "192.0.2.7"
    assert came.session
    assert cookie not in str(came)


def test_a_refused_sign_in_is_remembered_as_nobodys(visit: Visit) -> None:
    visit.issuer.claims = {**COORDINATOR, "aud": "another"}
    visit.sign_in()
    visit.ask("/sign-in/answer?code=x&state=y")
    assert [(one.event.who, one.event.status) for one in found(visit.store)] == [("", 401), ("", 401)]
    assert not visit.session


def test_a_sign_out_without_a_sign_in_is_none(visit: Visit) -> None:
    visit.ask("/sign-out", {"token": "x"})
    assert found(visit.store) == []


def test_tokens_that_are_given_and_refused_are_remembered(program: Program) -> None:
    assert program.asks().status_code == 200
    used = program.assertion()
    program.asks(used)
    assert program.asks(used).status_code == 400
    assert program.asks("no.assertion.atall").status_code == 400
    told = [(one.event.kind, one.event.who, one.event.status) for one in found(program.api.store)]
    name = program.name
    assert told == [
        ("program", name, 200),
        ("program", name, 200),
        ("program", name, 400),
        ("program", "", 400),
    ]


def test_they_are_told_as_events_of_authentication(program: Program) -> None:
    program.asks()
    program.asks("no.assertion.atall")
    for one, outcome in zip(found(program.api.store), ("0", "4"), strict=True):
        (made,) = fhir.resources(one, "")
        assert (made["type"]["code"], made["subtype"][0]["code"]) == ("110114", "110122")
        assert made["outcome"] == outcome
        assert validate(made)


def test_an_export_is_remembered_with_who_began_it_and_who_fetched_which_file(program: Program) -> None:
    api = program.api
    anna = jsontext.from_data({"resourceType": "Patient", "id": "anna"})
    api.store.write(lambda transaction: transaction.put(anna, "anna"))
    begun = api.get("$export", authorization=f"Bearer {program.token()}", prefer="respond-async")
    assert begun.status_code == 202, begun.text
    place = begun.headers["content-location"]
    for _ in range(200):
        told = program.get(place)
        if told.status_code == 200:
            break
        time.sleep(0.05)
    (output,) = told.json()["output"]
    assert program.get(output["url"]).status_code == 200
    places = Places(api.store.database)
    try:
        events = [one.event for one in every(places, Wanted(who=program.name))]
    finally:
        places.close()
    (began,) = (one for one in events if one.interaction == "$export")
    (fetched,) = (one for one in events if one.interaction == "export-file")
    assert (began.status, fetched.status) == (202, 200)
    assert fetched.id in place
    assert fetched.version == output["url"].rpartition("/")[2]

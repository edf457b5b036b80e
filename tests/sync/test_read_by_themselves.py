"""Records that are read by themselves: those no longer listed, named in the settings, or referred to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.staging.feed import feeds
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.departments import QUICK
from tests.sync.records import patient
from tests.sync.test_pages import BASE, answers, genders, has, offer, offers, outcome, page, synced

UNSEEN = "1 record could not be looked at; what we have is kept"


@respx.mock
@pytest.mark.parametrize(
    ("status", "deleted", "fault"),
    [
        (404, 1, ""),
        (410, 1, ""),
        (403, 0, "1 record could not be looked at; what we have is kept"),
        (200, 0, ""),
    ],
)
def test_a_record_that_is_no_longer_listed_is_looked_at(
    store: Store, status: int, deleted: int, fault: str
) -> None:
    offers()
    answers(has("p", "q"))
    synced(store)
    answers(has("q"))
    respx.get(f"{BASE}/Patient/p").respond(status, json=patient("p", "p"))
    report = synced(store)
    assert report.counts["Patient"].deleted == deleted
    assert report.faults == ({"Patient": fault} if fault else {})
    assert len(genders(store)) == 2 - deleted


def issues(*codes: str) -> dict[str, Any]:
    """An OperationOutcome with one issue for each code."""
    return {"resourceType": "OperationOutcome", "issue": [outcome("error", c)["issue"][0] for c in codes]}


@respx.mock
@pytest.mark.parametrize(
    ("status", "codes", "deleted"),
    [
        (400, ("dead",), 1),
        (400, ("dead", "hint"), 1),
        (400, ("hint",), 0),
        (400, ("dead", "other"), 0),
        (401, ("dead",), 0),
        (403, ("dead",), 0),
        (500, ("dead",), 0),
        (200, ("dead",), 0),
    ],
)
def test_a_code_tells_a_deletion_only_if_nothing_else_is_wrong_and_nobody_refuses(
    store: Store, tmp_path: Path, status: int, codes: tuple[str, ...], deleted: int
) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('[codes]\ngone = ["dead"]\nignore = ["hint"]\n')
    offers()
    answers(has("p", "q"))
    synced(store, vendor=str(file))
    answers(has("q"))
    respx.get(f"{BASE}/Patient/p").respond(status, json=issues(*codes))
    report = synced(store, vendor=str(file))
    assert report.counts["Patient"].deleted == deleted
    assert report.ok is bool(deleted)
    assert len(genders(store)) == 2 - deleted


def named(*, by_id: bool) -> None:
    parameters = ("_id",) if by_id else ()
    offers(offer("Patient", "read", "search-type", parameters=parameters), software="Epic")


@respx.mock
def test_what_a_search_by_id_does_not_give_is_read_by_itself_and_nothing_else_is_taken(store: Store) -> None:
    named(by_id=True)
    respx.get(f"{BASE}/Patient", params={"_id": "a,b,c"}).respond(json=has("a", "other"))
    respx.get(f"{BASE}/Patient/b").respond(json=patient("b", "b"))
    respx.get(f"{BASE}/Patient/c").respond(403)
    report = synced(store, patients=("c", "a", "b"))
    assert report.counts["Patient"] == Counts(read=2, created=2)
    assert report.faults == {"Patient": "1 record could not be read"}


@respx.mock
def test_a_server_that_refuses_a_size_of_page_is_asked_for_the_ids_alone(store: Store) -> None:
    named(by_id=True)

    def found(request: httpx.Request) -> httpx.Response:
        refused = "_count" in request.url.params
        return httpx.Response(400) if refused else httpx.Response(200, json=has("a", "b"))

    route = respx.get(f"{BASE}/Patient").mock(side_effect=found)
    report = synced(store, patients=("a", "b"))
    assert (report.ok, report.counts["Patient"].created, route.call_count) == (True, 2, 2)


@respx.mock
def test_a_record_that_was_cut_short_once_is_no_dead_letter_when_it_is_whole(store: Store) -> None:
    named(by_id=False)
    whole = httpx.Response(200, json=patient("a", "a"))
    cut = httpx.Response(200, content=whole.content[:5])
    respx.get(f"{BASE}/Patient/a").mock(side_effect=[cut, cut, whole])
    found = [synced(store, patients=("a",)) for _ in range(3)]
    assert [(report.ok, report.dead_letters) for report in found] == [(False, 1), (False, 1), (True, 0)]


@respx.mock
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500),
        httpx.Response(400, json=has("a", "b")),
        httpx.Response(200, text="nul"),
        httpx.Response(200, json=page({}, {"request": {"method": "DELETE", "url": "Patient/a"}})),
    ],
)
def test_where_a_search_by_id_fails_each_is_read(store: Store, answer: httpx.Response) -> None:
    named(by_id=True)
    search = respx.get(f"{BASE}/Patient").mock(return_value=answer)
    each = [respx.get(f"{BASE}/Patient/{id}").respond(json=patient(id, id)) for id in "ab"]
    report = synced(store, patients=("a", "b"))
    assert report.counts["Patient"].created == 2
    assert search.called
    assert all(route.called for route in each)


@respx.mock
def test_one_record_alone_is_not_searched_for(store: Store) -> None:
    named(by_id=True)
    respx.get(f"{BASE}/Patient/a").respond(json=patient("a"))
    assert synced(store, patients=("a",)).ok


@respx.mock
def test_ids_are_asked_for_in_portions_of_fifty(store: Store) -> None:
    named(by_id=True)
    ids = tuple(f"{n:03}" for n in range(101))
    search = respx.get(f"{BASE}/Patient").mock(
        side_effect=lambda request: httpx.Response(200, json=has(*request.url.params["_id"].split(",")))
    )
    respx.get(f"{BASE}/Patient/100").respond(json=patient("100", "100"))
    assert synced(store, patients=ids).counts["Patient"].created == 101
    assert [call.request.url.params["_count"] for call in search.calls] == ["50", "50"]


@respx.mock
def test_what_is_read_by_reference_is_followed_as_far_as_it_leads(store: Store) -> None:
    offers(offer("Patient", "search-type"), offer("Organization", "read"), offer("PractitionerRole", "read"))
    answers(page({"resource": patient("p", generalPractitioner=[{"reference": "PractitionerRole/1"}])}))

    def links(type: str, id: str, element: str, to: str) -> respx.Route:
        content = {"resourceType": type, "id": id, element: {"reference": to}}
        return respx.get(f"{BASE}/{type}/{id}").respond(json=content)

    links("PractitionerRole", "1", "organization", "Organization/1")
    for n in range(1, 3):
        links("Organization", str(n), "partOf", f"Organization/{n + 1}")
    lost = respx.get(f"{BASE}/Organization/3").respond(404)
    report = synced(store, "Patient", "Organization", "PractitionerRole")
    assert report.counts["Organization"] == Counts(read=2, created=2)
    assert report.counts["PractitionerRole"] == Counts(read=1, created=1)
    assert report.ok
    assert lost.call_count == 1, "what is not there is not asked for in each round"


def test_a_validator_sees_each_record_once_however_often_it_is_read(store: Store) -> None:
    seen: list[str] = []

    def validate(document: Document) -> Any:
        seen.append(document.data["id"])
        return OK

    with respx.mock:
        offers()
        answers(has("p", next="2"), has("q"))
        ehr = EhrSettings(name="care", url=BASE, types=("Patient",))
        run(store, Settings(ehr=(ehr,)), politeness=QUICK, validate=validate)
        run(store, Settings(ehr=(ehr,)), full=True, politeness=QUICK, validate=validate)
        assert seen == ["p", "q"], "what is as it was is not judged again"


@respx.mock
@pytest.mark.parametrize("trouble", ["complaint", "unseen", ""])
def test_while_not_all_patients_are_known_what_is_read_by_patient_is_behind(
    store: Store, tmp_path: Any, trouble: str
) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('[types.ServiceRequest]\nfind = "by-patient"\n')
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))
    orders = respx.get(f"{BASE}/ServiceRequest").respond(json=has())
    respx.get(f"{BASE}/Patient/q").respond(403)
    answers(has("p", "q"))
    synced(store)
    complaint = [{"resource": outcome("error", "timeout")}] if trouble == "complaint" else []
    listed = ["p"] if trouble == "unseen" else ["p", "q"]
    answers(page(*complaint, *({"resource": patient(id, id)} for id in listed)))
    report = synced(store, "Patient", "ServiceRequest", vendor=str(file))
    asked = sorted(call.request.url.params["patient"] for call in orders.calls)
    assert asked == ["p", "q"]
    assert report.faults.get("ServiceRequest", "") == (
        "not all patients of this EHR are known" if trouble else ""
    )


@respx.mock
def test_a_type_read_by_reference_that_could_not_be_read_is_not_taken_for_seen(store: Store) -> None:
    offers(offer("Patient", "search-type"), offer("Organization", "read"))
    answers(page({"resource": patient("p", managingOrganization={"reference": "Organization/1"})}))
    route = respx.get(f"{BASE}/Organization/1").respond(403)

    def state() -> dict[str, str]:
        with store.connect() as connection:
            return {row.type: row.state for row in feeds(connection)}

    report = synced(store, "Patient", "Organization")
    assert report.faults == {"Organization": "1 record could not be read"}
    assert state() == {"Patient": "observable", "Organization": "behind"}
    route.mock(side_effect=httpx.ConnectError("refused"))
    assert synced(store, "Patient", "Organization").faults == report.faults
    route.mock(return_value=httpx.Response(200, json={"resourceType": "Organization", "id": "1"}))
    assert synced(store, "Patient", "Organization").ok
    assert state() == {"Patient": "observable", "Organization": "observable"}


@respx.mock
def test_what_cannot_be_read_counts_each(store: Store) -> None:
    offers()
    answers(has("p", "q", "r", "s"))
    synced(store)
    answers(has("s"))
    respx.get(f"{BASE}/Patient/p").respond(403)
    respx.get(f"{BASE}/Patient/q").respond(200, html="<html>Log in</html>")
    respx.get(f"{BASE}/Patient/r").mock(side_effect=httpx.ConnectError("refused"))
    assert synced(store).faults == {"Patient": "3 records could not be looked at; what we have is kept"}


@respx.mock
def test_what_nobody_foresaw_in_one_read_is_a_fault_of_the_type(store: Store) -> None:
    offers()
    answers(has("p", "q"))
    synced(store)
    answers(has("q"))
    respx.get(f"{BASE}/Patient/p").mock(side_effect=LookupError("Eva"))
    report = synced(store)
    assert "LookupError" in report.faults["Patient"]
    assert "Eva" not in report.faults["Patient"]
    assert report.counts["Patient"].deleted == 0


@respx.mock
@pytest.mark.parametrize("answer", ["in its place", "redirected"])
def test_a_patient_in_whose_place_the_server_gives_another_is_given_up_for_that_one(
    store: Store, answer: str
) -> None:
    """Servers do so once two patients were merged there."""
    named(by_id=False)
    respx.get(f"{BASE}/Patient/a").respond(json=patient("a", "1", gender="male"))
    synced(store, patients=("a",))
    new = patient("b", "2", gender="female", birthDate="1999-09-09")
    if answer == "in its place":
        respx.get(f"{BASE}/Patient/a").respond(json=new)
    else:
        respx.get(f"{BASE}/Patient/a").respond(301, headers={"Location": f"{BASE}/Patient/b"})
    respx.get(f"{BASE}/Patient/b").respond(json=new)
    for _ in range(2):  # and it stays so
        assert synced(store, patients=("a",)).faults == {}
        (now,) = store.search(Query.parse("Patient", [])).matches
        assert (now.data["birthDate"], now.data.get("active", True)) == ("1999-09-09", True)

"""A search read page by page: what of each page counts, and when it cannot be gone on with."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.outcome import OK
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.sync.ehr import search
from fhir_coprod.sync.engine import run
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.stage import Counts
from tests.sync.departments import QUICK, feed
from tests.sync.records import Json, patient

BASE = "https://care.example/fhir"


def offer(type: str, *interactions: str, parameters: tuple[str, ...] = ()) -> Json:
    return {
        "type": type,
        "interaction": [{"code": code} for code in interactions],
        "searchParam": [{"name": name} for name in parameters],
    }


def offers(*resources: Json, software: str = "") -> None:
    """What the server says it can do; without any, that Patients can be searched."""
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "software": {"name": software},
        "rest": [{"mode": "server", "resource": list(resources) or [offer("Patient", "search-type")]}],
    }
    respx.get(f"{BASE}/metadata").respond(json=statement)
    # Asked for when pages have no total: this server does not count.
    respx.get(url__regex=rf"{BASE}/\w+\?.*_summary=count").respond(400)


def page(*entries: Json, next: str = "", **more: Any) -> Json:
    link = [{"relation": "self", "url": f"{BASE}/Patient"}]
    if next:
        link.append({"relation": "next", "url": f"{BASE}/Patient?page={next}"})
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": list(entries), **more}


def has(*ids: str, next: str = "", **more: Any) -> Json:
    return page(*({"resource": patient(id, id)} for id in ids), next=next, **more)


def outcome(severity: str, code: str = "", **more: Any) -> Json:
    issue = {"severity": severity, "code": code, **more}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def answers(*pages: Json | httpx.Response) -> None:
    """The first page, then those that `next` names 2, 3, …"""
    for number, one in enumerate(pages, 1):
        answer = one if isinstance(one, httpx.Response) else httpx.Response(200, json=one)
        query = {"page": str(number)} if number > 1 else {"_count": "200"}
        respx.get(f"{BASE}/Patient", params=query).mock(return_value=answer)


def synced(store: Store, *types: str, full: bool = False, **more: Any) -> EhrReport:
    ehr = EhrSettings(name="care", url=BASE, types=types or ("Patient",), requests_per_second=1000, **more)
    (report,) = run(store, Settings(ehr=(ehr,)), full=full, politeness=QUICK, validate=lambda document: OK)
    return report


def genders(store: Store) -> list[str]:
    found = store.search(Query.parse("Patient", [])).matches
    return sorted(str(v.data.get("gender", "")) for v in found)


def mark(store: Store) -> str:
    return feed(store, "care", "Patient").watermark


# --- what of a page counts ------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(("mode", "read"), [("match", 1), ("", 1), ("include", 0), ("outcome", 0)])
def test_only_what_was_searched_for_is_taken(store: Store, mode: str, read: int) -> None:
    offers()
    answers(page({"resource": patient("p"), "search": {"mode": mode}}))
    report = synced(store)
    assert report.counts["Patient"].read == read
    assert report.ok


@respx.mock
def test_an_entry_without_a_resource_is_nothing(store: Store) -> None:
    offers()
    answers(page({"fullUrl": f"{BASE}/Patient/p"}, {"resource": patient("q")}))
    assert synced(store).counts["Patient"] == Counts(read=1, created=1)


@respx.mock
@pytest.mark.parametrize("severity", ["error", "fatal"])
def test_an_error_among_the_matches_leaves_the_type_behind(store: Store, severity: str) -> None:
    offers()
    details = {"coding": [{"code": "59100"}]}
    answers(page({"resource": patient("p")}, {"resource": outcome(severity, "timeout", details=details)}))
    report = synced(store)
    assert report.faults == {"Patient": "the server says that something is missing (59100, timeout)"}
    assert report.counts["Patient"] == Counts(read=1, created=1)
    assert mark(store) == ""


@respx.mock
def test_an_error_without_a_code_is_told_as_such(store: Store) -> None:
    offers()
    answers(page({"resource": outcome("error")}))
    assert synced(store).faults == {"Patient": "the server says that something is missing (no code)"}


@respx.mock
@pytest.mark.parametrize("severity", ["warning", "information"])
def test_a_remark_that_is_no_error_hides_nothing(store: Store, severity: str) -> None:
    offers()
    answers(page({"resource": patient("p")}, {"resource": outcome(severity, "timeout")}))
    assert synced(store).ok


@respx.mock
def test_of_a_record_on_two_pages_the_newer_one_counts_once(store: Store) -> None:
    offers()

    def version(number: str, time: str, gender: str) -> Json:
        stamps = {"versionId": number, "lastUpdated": f"2026-03-02T{time}:00Z"}
        return {"resource": patient("p", gender=gender, meta=stamps)}

    answers(
        page(version("2", "10:00", "male"), next="2"),
        page(version("1", "09:00", "other"), version("10", "10:00", "female"), next="3"),
        page(version("9", "10:00", "unknown"), version("v11", "10:00", "unknown")),
    )
    assert synced(store).ok
    assert genders(store) == ["female"]


@respx.mock
def test_of_a_record_twice_on_one_page_the_newer_one_counts_whatever_it_is(store: Store) -> None:
    """Refused, unchanged or taken: what came before it of the same record is forgotten."""
    offers()

    def version(number: str, gender: str) -> Json:
        stamps = {"versionId": number, "lastUpdated": "2026-03-02T10:00:00Z"}
        return {"resource": patient("p", gender=gender, meta=stamps)}

    answers(page(version("1", "male")))
    synced(store)
    answers(page(version("1", "male"), version("2", "female")))
    assert synced(store).counts["Patient"] == Counts(read=1, updated=1)
    answers(page(version("3", "other"), version("4", "female")))
    assert synced(store).counts["Patient"] == Counts(read=1, unchanged=1)
    assert genders(store) == ["female"]


@respx.mock
def test_records_without_an_id_are_refused_each(store: Store) -> None:
    offers()
    nameless: list[Json] = [{"resource": {"resourceType": "Patient", "gender": g}} for g in ("male", "other")]
    answers(page(*nameless))
    assert synced(store).counts["Patient"] == Counts(read=2, dead=2)


# --- where it cannot go on ------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize("status", [404, 410])
def test_a_page_that_is_forgotten_is_begun_again_from_the_first(store: Store, status: int) -> None:
    offers()
    respx.get(f"{BASE}/Patient", params={"page": "2"}).mock(
        side_effect=[
            httpx.Response(status),
            httpx.Response(status),
            httpx.Response(200, json=has("q", total=2)),
        ]
    )
    first = respx.get(f"{BASE}/Patient", params={"_count": "200"}).respond(json=has("p", next="2", total=2))
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"] == Counts(read=2, created=2)
    assert first.call_count == 3


@respx.mock
@pytest.mark.parametrize("status", [404, 410])
def test_a_server_that_forgets_its_pages_again_and_again_is_a_fault(store: Store, status: int) -> None:
    offers()
    second = respx.get(f"{BASE}/Patient", params={"page": "2"}).respond(status)
    answers(has("p", next="2"))
    report = synced(store)
    assert report.faults["Patient"] == (
        "care: the server forgets its pages of Patient before they can be read; "
        "lower page_size in its vendor file."
    )
    assert second.call_count == search.RESTARTS + 1 == 3


@respx.mock
@pytest.mark.parametrize("status", [404, 410])
def test_a_first_page_that_is_not_there_is_no_forgotten_one(store: Store, status: int) -> None:
    offers()
    first = respx.get(f"{BASE}/Patient").respond(status)
    assert f"answered {status}" in synced(store).faults["Patient"]
    assert first.call_count == 1


@respx.mock
@pytest.mark.parametrize(("code", "calls"), [("expired", 2), ("other", 1)])
def test_a_code_of_the_vendor_begins_a_search_again(
    store: Store, tmp_path: Any, code: str, calls: int
) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('[codes]\nrestart = ["expired"]\nignore = ["nothing"]\n')
    offers()
    first = respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(400, json=outcome("error", code)), httpx.Response(200, json=has("p"))]
    )
    assert synced(store, vendor=str(file)).ok is (calls == 2)
    assert first.call_count == calls


@respx.mock
@pytest.mark.parametrize(("code", "ok"), [("nothing", True), ("other", False)])
def test_a_code_of_the_vendor_means_that_there_is_nothing(
    store: Store, tmp_path: Any, code: str, ok: bool
) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('[codes]\nrestart = ["expired"]\nignore = ["nothing"]\n')
    offers()
    respx.get(f"{BASE}/Patient").respond(400, json=outcome("error", code))
    report = synced(store, vendor=str(file))
    assert report.ok is ok
    assert report.counts["Patient"] == Counts()


@respx.mock
def test_an_ignored_code_makes_no_page_of_an_answer_that_counts_as_good(store: Store, tmp_path: Any) -> None:
    file = tmp_path / "ward.toml"
    file.write_text('[codes]\nignore = ["nothing"]\n')
    offers()
    respx.get(f"{BASE}/Patient").respond(200, json=outcome("warning", "nothing"))
    assert "instead of a Bundle" in synced(store, vendor=str(file)).faults["Patient"]


@respx.mock
@pytest.mark.parametrize("barren", [24, 25])
def test_pages_without_anything_new_end_after_twenty_five_in_a_row(store: Store, barren: int) -> None:
    offers()
    more = [page(next=str(n + 2)) for n in range(1, barren + 1)]
    answers(has("p", next="2"), *more, has("q", next="100"))
    respx.get(f"{BASE}/Patient", params={"page": "100"}).respond(json=has("r"))
    report = synced(store)
    if barren == 24:
        assert report.ok
        assert report.counts["Patient"].created == 3
    else:
        assert report.faults["Patient"] == (
            "care: 25 pages of Patient in a row held nothing new and still point to a next one; "
            "what lies behind cannot be seen."
        )
        assert report.counts["Patient"].created == 1, "what came until then is kept"


@respx.mock
def test_a_bundle_without_entries_is_an_end_and_something_else_is_a_fault(store: Store) -> None:
    offers()
    answers(has())
    assert synced(store).ok
    answers({"resourceType": "Patient"})
    assert synced(store).faults == {
        "Patient": "care: the search for Patient answered a Patient instead of a Bundle."
    }


# --- incremental ----------------------------------------------------------------------------------

STAMPED = {"resource": patient("p", meta={"lastUpdated": "2026-03-02T10:00:00Z"})}


def listed_twice(kind: str) -> respx.Route:
    """A first run that leaves a watermark; then the route of the incremental one."""
    if kind == "history":
        offers(offer("Patient", "search-type", "history-type"))
        route = respx.get(f"{BASE}/Patient/_history")
    else:
        offers(offer("Patient", "search-type", parameters=("_lastUpdated",)))
        route = respx.get(f"{BASE}/Patient", params__contains={"_lastUpdated": "ge2026-03-02T09:58:00.000Z"})
    answers(page(STAMPED))
    return route


@pytest.mark.parametrize("kind", ["history", "last-updated"])
@respx.mock
def test_a_server_that_does_not_do_what_it_promises_is_read_whole(store: Store, kind: str) -> None:
    route = listed_twice(kind)
    route.respond(400)
    synced(store)
    assert mark(store) == "2026-03-02T10:00:00.000000Z"
    answers(has("q"))
    respx.get(f"{BASE}/Patient/p").respond(410)
    report = synced(store)
    assert route.call_count == 1
    assert report.ok
    assert report.counts["Patient"] == Counts(read=1, created=1, deleted=1)


@respx.mock
def test_a_server_that_fails_on_a_later_page_of_what_is_new_is_not_read_whole(store: Store) -> None:
    route = listed_twice("history")
    synced(store)
    route.respond(json=has("q", next="2"))
    respx.get(f"{BASE}/Patient", params={"page": "2"}).respond(400)
    report = synced(store)
    assert "answered 400" in report.faults["Patient"]
    assert report.counts["Patient"].created == 1, "what came is kept"
    assert mark(store) == "2026-03-02T10:00:00.000000Z"


@respx.mock
def test_a_server_that_cannot_be_reached_is_not_asked_for_everything(store: Store) -> None:
    route = listed_twice("history")
    synced(store)
    route.mock(side_effect=httpx.ConnectError("refused"))
    assert "no answer" in synced(store).faults["Patient"]
    assert mark(store) == "2026-03-02T10:00:00.000000Z"


@respx.mock
def test_an_error_among_what_is_new_leaves_the_watermark_where_it_was(store: Store) -> None:
    route = listed_twice("history")
    synced(store)
    later = patient("q", meta={"lastUpdated": "2026-03-03T10:00:00Z"})
    route.respond(json=page({"resource": later}, {"resource": outcome("error", "timeout")}))
    report = synced(store)
    assert report.counts["Patient"].created == 1
    assert not report.ok
    assert mark(store) == "2026-03-02T10:00:00.000000Z"
    route.respond(json=page({"resource": later}))
    assert synced(store).ok
    assert mark(store) == "2026-03-03T10:00:00.000000Z"


@respx.mock
def test_a_deletion_in_a_history_counts_for_its_own_type_and_over_its_past(store: Store) -> None:
    route = listed_twice("history")
    synced(store)

    def deleted(reference: str) -> Json:
        return {"request": {"method": "DELETE", "url": reference}}

    past = {"resource": patient("p", gender="male", meta={"lastUpdated": "2026-03-02T11:00:00Z"})}
    route.respond(json=page(deleted("Task/p"), past))
    assert synced(store).counts["Patient"] == Counts(read=1, updated=1)
    route.respond(json=page(deleted("Patient/p"), past))
    respx.get(f"{BASE}/Patient/p").respond(410)
    assert synced(store).counts["Patient"] == Counts(deleted=1)


@respx.mock
def test_a_deletion_is_believed_only_when_the_record_is_really_gone(store: Store) -> None:
    route = listed_twice("history")
    synced(store)
    route.respond(json=page({"request": {"method": "DELETE", "url": "Patient/p"}}))
    respx.get(f"{BASE}/Patient/p").respond(json={**STAMPED["resource"], "gender": "male"})
    report = synced(store)
    assert report.ok
    assert report.counts["Patient"].deleted == 0
    assert len(genders(store)) == 1

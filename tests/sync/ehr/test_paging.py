"""Reading search pages in the forms that servers really send."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.ehr.paging import NotAPage

BASE = "https://ehr.example/r4/fhir"


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        (f"{BASE}/Patient?page=2", f"{BASE}/Patient?page=2"),
        (f"{BASE}?_getpages=abc&_getpagesoffset=50", f"{BASE}?_getpages=abc&_getpagesoffset=50"),
        ("?_getpages=abc", f"{BASE}?_getpages=abc"),
        ("?page=2", f"{BASE}/Patient?page=2"),
        ("Patient?page=2", f"{BASE}/Patient?page=2"),
        ("/r4/fhir/Patient?page=2", f"{BASE}/Patient?page=2"),
        ("/Patient?page=2", f"{BASE}/Patient?page=2"),
        ("http://internal:8080/fhir/Patient?page=2", f"{BASE}/Patient?page=2"),
        ("http://internal:8080/hapi/fhir?_getpages=abc", f"{BASE}?_getpages=abc"),
        ("http://internal:8080/fhir/page/xyz", f"{BASE}/page/xyz"),
        ("http://ehr.example/r4/fhir/Patient?page=2", f"{BASE}/Patient?page=2"),
        ("https://ehr.example/r4/fhirother/Patient?page=2", f"{BASE}/Patient?page=2"),
    ],
)
def test_a_next_link_leads_below_the_base_however_it_is_written(link: str, expected: str) -> None:
    assert paging.follow(BASE, f"{BASE}/Patient?_count=50", link, "Patient") == expected


def test_resources_are_kept_as_the_bytes_that_came() -> None:
    resource = b'{"resourceType": "Observation",  "id":"1","valueQuantity":{"value":19.00}}'
    page = paging.read(
        b'{"resourceType":"Bundle","total":9,"link":[{"relation":"next","url":"x"}],"entry":[{"resource":'
        + resource
        + b',"search":{"mode":"match"}}]}'
    )
    assert page.entries[0].resource == resource
    assert (page.next, page.total, page.entries[0].mode) == ("x", 9, "match")


def test_a_deletion_in_a_history_names_what_was_deleted() -> None:
    entries = [
        {"request": {"method": "DELETE", "url": url}}
        for url in ("Task/1", "https://ehr.example/fhir/Task/1/_history/4", "Task/1/_history/4")
    ]
    page = paging.read(json.dumps({"resourceType": "Bundle", "entry": entries}).encode())
    assert [entry.deleted for entry in page.entries] == ["Task/1"] * 3


def test_an_empty_page_is_a_page() -> None:
    assert paging.read(b'{"resourceType":"Bundle","type":"searchset","total":0}') == paging.Page((), "", 0)


@pytest.mark.parametrize("broken", [b'{"a":tru}', b'{"a":"\x01"}', b'{"a":1,}', b'{"a":"\xff"}', b"{'a':1}"])
def test_one_broken_record_costs_one_record(broken: bytes) -> None:
    good = b'{"resourceType":"Task","id":"%d"}'
    raw = (
        b'{"resourceType":"Bundle","link":[{"relation":"next","url":"n"}],"entry":[{"resource":'
        + b'},{"resource":'.join([good % 1, broken, good % 2])
        + b"}]}"
    )
    page = paging.read(raw)
    assert [entry.resource for entry in page.entries] == [good % 1, broken, good % 2]
    assert page.next == "n"


def test_what_is_no_record_at_all_is_not_lost_either() -> None:
    page = paging.read(b'{"resourceType":"Bundle","entry":[oops, {"resource":{"id":"1"}}, 7 , nul]}')
    assert [entry.resource for entry in page.entries] == [b"oops", b'{"id":"1"}', b"7 , nul"]


@pytest.mark.parametrize(
    "raw",
    [b"[]", b'{"resourceType":"Patient"}', b"{}", b"", b"<html/>", b'{"resourceType":"Bundle", oops', b"nul"],
)
def test_something_else_is_not_a_page(raw: bytes) -> None:
    with pytest.raises(NotAPage):
        paging.read(raw)


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\\\", b"{", b"["])
def test_a_page_cut_off_in_the_middle_is_given_up_in_no_time(unit: bytes) -> None:
    raw = b'{"resourceType":"Bundle","entry":[{"resource":{"x":"' + unit * 300_000
    began = time.process_time()
    with contextlib.suppress(paging.NotAPage):
        paging.read(raw)
    assert time.process_time() - began < 5, "the walk over a broken page must stay linear"

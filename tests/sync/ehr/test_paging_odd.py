"""Pages that are written otherwise: broken, nested, or linked in a way of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.ehr.paging import Entry, NotAPage, Page, follow

BASE = "https://ehr.example/r4/fhir"


def bundle(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"resourceType": "Bundle", "entry": list(entries), **more}).encode()


def broken(entries: str, more: str = "") -> bytes:
    """A Bundle that cannot be parsed as a whole: one of its entries is `oops`."""
    return f'{{"resourceType" : "Bundle","total":9,{more}"entry":[{entries}]}}'.encode()


@pytest.mark.parametrize(
    ("url", "deleted"),
    [
        ("Task/1", "Task/1"),
        ("Task/1/", "Task/1"),
        ("Task/1?_format=json", "Task/1"),
        ("https://ehr.example/fhir/Task/1/_history/4?x=/y", "Task/1"),
        ("Task", ""),
        ("", ""),
    ],
)
def test_a_deletion_names_type_and_id_however_its_address_is_written(url: str, deleted: str) -> None:
    (found,) = paging.read(bundle({"request": {"method": "DELETE", "url": url}})).entries
    assert found == Entry(b"", "", deleted)


@pytest.mark.parametrize("method", ["PUT", "POST", "delete", ""])
def test_only_delete_is_a_deletion(method: str) -> None:
    entry = {"resource": {"id": "1"}, "request": {"method": method, "url": "Task/1"}}
    (found,) = paging.read(bundle(entry)).entries
    assert found == Entry(b'{"id": "1"}', "", "")


def test_a_deletion_has_no_resource_even_where_the_server_sends_one() -> None:
    entry = {"resource": {"id": "1"}, "request": {"method": "DELETE", "url": "Task/1"}}
    (found,) = paging.read(bundle(entry)).entries
    assert found.resource == b""


def test_the_next_link_is_the_first_one_called_so() -> None:
    links = [
        {"relation": "self", "url": "a"},
        {"relation": "next", "url": "b"},
        {"relation": "next", "url": "c"},
    ]
    assert paging.read(bundle(link=links)) == Page((), "b", None)
    assert paging.read(bundle(link=links[:1])) == Page((), "", None)


def test_an_entry_of_odd_content_costs_one_record() -> None:
    odd = {"resource": {"id": "2"}, "search": "match"}
    page = paging.read(bundle({"resource": {"id": "1"}, "search": {"mode": "include"}}, odd, 7))
    assert [entry.resource for entry in page.entries] == [b'{"id": "1"}', b'{"id": "2"}', b"7"]
    assert [entry.mode for entry in page.entries] == ["include", "", ""]


def test_a_broken_page_is_cut_by_its_brackets_and_keeps_its_links() -> None:
    inner = '{"resource":{"id":"1","entry":[{"x":[1,{"y":"]}"}]}]},"search":{"mode":"include"}}'
    link = '"link":[{"relation":"self","url":"s"},{"relation":"next","url":"n"}],'
    page = paging.read(broken(f"{inner} ,\n\toops,{inner}", link))
    resource = b'{"id":"1","entry":[{"x":[1,{"y":"]}"}]}]}'
    assert page == Page((Entry(resource, "include"), Entry(b"oops"), Entry(resource, "include")), "n", 9)


def test_only_what_stands_at_the_first_level_is_the_list_of_entries() -> None:
    first = '"meta":{"entry":[{"resource":{"id":"no"}}],"link":[{"relation":"next","url":"no"}]},'
    page = paging.read(broken('{"resource":{"id":"1"}},oops', first))
    assert page == Page((Entry(b'{"id":"1"}'), Entry(b"oops")), "", 9)


def test_a_word_between_brackets_belongs_to_no_record() -> None:
    page = paging.read(broken('a,{"resource":{"id":"1"}}, b ,{"resource":{"id":"2"}},c'))
    assert [e.resource for e in page.entries] == [b"a", b'{"id":"1"}', b"b", b'{"id":"2"}', b"c"]
    assert paging.read(broken("oops")).entries == (Entry(b"oops"),)


def test_a_record_that_is_cut_off_ends_the_page_before_it() -> None:
    raw = b'{"resourceType":"Bundle","entry":[{"resource":{"id":"1"}},{"resource":{"id":"2"'
    with pytest.raises(NotAPage, match="a Bundle whose JSON and links cannot be read"):
        paging.read(raw)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"resourceType":"Patient"}', "a Patient instead of a Bundle"),
        (b"{}", "a JSON object without resourceType instead of a Bundle"),
        (b"oops", "JSON that cannot be read and is no Bundle"),
        (b'{"resourceType":"Bundle","entry":7, oops', "a Bundle whose JSON cannot be read"),
        (
            b'{"resourceType":"Bundle","link":[{"relation":7}],"entry":[{},oops]}',
            "a Bundle whose JSON and links cannot be read",
        ),
    ],
)
def test_what_is_no_page_is_said(raw: bytes, said: str) -> None:
    with pytest.raises(NotAPage) as caught:
        paging.read(raw)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("base", "link", "expected"),
    [
        (f"{BASE}/", f"{BASE}/Patient?page=2", f"{BASE}/Patient?page=2"),
        (BASE, "HTTPS://EHR.EXAMPLE/r4/fhir/Patient?page=2", "HTTPS://EHR.EXAMPLE/r4/fhir/Patient?page=2"),
        (BASE, f"{BASE}/?page=2", f"{BASE}/?page=2"),
        (BASE, "/r4/fhir?page=2", "https://ehr.example/r4/fhir?page=2"),
        (BASE, "http://internal/Patient/Patient?page=2", f"{BASE}/Patient/Patient?page=2"),
        (BASE, "http://internal/a//fhir//x?page=2", f"{BASE}/x?page=2"),
        (BASE, "http://internal/elsewhere?page=2", f"{BASE}?page=2"),
        (BASE, "http://internal/elsewhere/x#part", BASE),
        ("https://ehr.example", "http://internal/Patient?page=2", "https://ehr.example/Patient?page=2"),
        ("https://ehr.example", "http://internal/x?page=2", "https://ehr.example/?page=2"),
        ("https://ehr.example", "https://ehr.example/x?page=2", "https://ehr.example/x?page=2"),
    ],
)
def test_a_link_of_any_kind_leads_below_the_base(base: str, link: str, expected: str) -> None:
    assert follow(base, f"{base.rstrip('/')}/Patient?_count=50", link, "Patient") == expected

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
        (b'{"resourceType":"Bundle","entry":[oops, "', "a Bundle whose JSON cannot be read"),
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


# --- a quote that is not escaped turns texts inside out -------------------------------------------


def entry(id: str, text: str = "") -> str:
    return f'{{"fullUrl":"u/{id}","resource":{{"resourceType":"Task","id":"{id}","description":"{text}"}}}}'


@pytest.mark.parametrize(
    "text", ['say "hi', 'a 5" tube', '"}]', 'one", [{ "two', 'x"}]}, {"y":"[', 'a "b" c']
)
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("links_first", [True, False])
def test_a_record_with_a_quote_that_is_not_escaped_costs_itself(
    text: str, place: int, links_first: bool
) -> None:
    entries = [entry(id, text if n == place else "") for n, id in enumerate("abc")]
    listed, links = f'"entry":[{",".join(entries)}]', '"link":[{"relation":"next","url":"n"}]'
    parts = [links, listed] if links_first else [listed, links]
    raw = f'{{"resourceType":"Bundle","total":7,{",".join(parts)}}}'.encode()
    page = paging.read(raw)
    good = {e.id for e in page.entries if e.document is not None and e.document.type == "Task"}
    assert good >= set("abc") - {"abc"[place]}
    assert page.next == "n"


def test_a_page_that_is_cut_off_may_have_had_more() -> None:
    raw = f'{{"resourceType":"Bundle","entry":[{entry("a")},{entry("b")[:-9]}'.encode()
    with pytest.raises(NotAPage, match="links cannot be read"):
        paging.read(raw)


@pytest.mark.parametrize(
    ("before", "now", "beyond"),
    [
        (f"{BASE}/Task?_offset=0", f"{BASE}/Task?_offset=50", f"{BASE}/Task?_offset=100"),
        (f"{BASE}?g=x&o=20&_count=20", f"{BASE}?g=x&o=40&_count=20", f"{BASE}?g=x&o=60&_count=20"),
        (f"{BASE}/Task?_offset=50", f"{BASE}/Task?_offset=50", ""),
        (f"{BASE}/Task?_offset=50", f"{BASE}/Task?_offset=0", ""),
        (f"{BASE}/Task?ct=abc", f"{BASE}/Task?ct=abd", ""),
        (f"{BASE}/Task?a=1&b=1", f"{BASE}/Task?a=2&b=2", ""),
        (f"{BASE}/Task?_count=9", f"{BASE}/Task?_count=9&page=2", ""),
        (f"{BASE}/Task?a=1", f"{BASE}/Task?b=2", ""),
        (f"{BASE}/Task?a=1", f"{BASE}/Goal?a=2", ""),
    ],
)  # fmt: skip
def test_the_page_behind_one_that_fails_is_known_where_pages_are_counted(
    before: str, now: str, beyond: str
) -> None:
    assert paging.counted_on(before, now) == beyond


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("https://ehr.example:443:443/r4/fhir?_getpages=x&o=20", f"{BASE}?_getpages=x&o=20"),
        ("https://ehr.example:443/r4/fhir/Task?page=2", f"{BASE}/Task?page=2"),
        ("/app/FHIR/r4/Task?p=eyJvIjoyMH0%3D", f"{BASE}/Task?p=eyJvIjoyMH0%3D"),
        ("http://fhir-server.svc.cluster.local/Task?ct=x", f"{BASE}/Task?ct=x"),
    ],
)
def test_links_as_servers_behind_proxies_write_them_are_followed(link: str, expected: str) -> None:
    assert follow(BASE, f"{BASE}/Task?_count=20", link, "Task") == expected


@pytest.mark.parametrize("space", ["", " ", "\n"])
def test_one_entry_that_is_not_in_a_list_is_an_entry(space: str) -> None:
    resource = '{"id":"1","name":[{"family":"A"}]}'
    raw = f'{{"resourceType":"Bundle","total":1,"entry":{space}{{"resource":{resource}}}}}'
    assert paging.read(raw.encode()) == Page((Entry(resource.encode()),), "", 1)

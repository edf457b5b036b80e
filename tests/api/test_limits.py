"""Each limit holds exactly: what is at it passes, what is one beyond it is refused with what to do."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json, encode
from fhir_coprod.settings import LimitSettings, Settings, StoreSettings
from fhir_coprod.store import Store
from tests.api.conftest import Api, outcome, patient

LIMITS = LimitSettings(body_bytes=20_000, page=10, bundle_entries=5)


@pytest.fixture
def limited(sqlite_api: Callable[..., Api]) -> Api:
    return sqlite_api(limits=LIMITS)


def test_body(limited: Api) -> None:
    fitting = jsontext.encode(patient()).ljust(20_000)
    assert limited.post("Patient", fitting).status_code == 201
    refused = limited.post("Patient", fitting + b" ")
    assert refused.status_code == 413
    assert "20,000 bytes" in outcome(refused)["diagnostics"]


def test_page_of_a_search_and_of_a_history(limited: Api) -> None:
    stored = limited.create(patient())
    for number in range(12):
        limited.create(patient())
        limited.put(f"Patient/{stored['id']}", {**stored, "language": f"x-{number}"})
    for url in ("Patient?", f"Patient/{stored['id']}/_history?", "Patient/_history?", "_history?"):
        for asked, given in ((9, 9), (10, 10), (11, 10), (999_999_999, 10)):
            page = limited.get(f"{url}_count={asked}").json()
            assert len(page["entry"]) == given, url
            assert any(link["relation"] == "next" for link in page["link"])


def test_entries_of_a_bundle(limited: Api) -> None:
    reading = {"request": {"method": "GET", "url": "Patient?_count=0"}}
    for type in ("batch", "transaction"):
        fitting = {"resourceType": "Bundle", "type": type, "entry": [reading] * 5}
        assert limited.post("", fitting).status_code == 200
        refused = limited.post("", {**fitting, "entry": [reading] * 6})
        assert refused.status_code == 413
        assert "at most 5 entries; split it" in outcome(refused)["diagnostics"]


def nested(levels: int) -> bytes:
    """A resource whose JSON nests as deep, valid but for that."""
    inner: dict[str, Any] = {"url": "urn:x", "valueString": "x"}
    # The resource, then a list and an object for each extension.
    for _ in range((levels - 3) // 2):
        inner = {"url": "urn:x", "extension": [inner]}
    return jsontext.encode({"resourceType": "Basic", "code": {"text": "x"}, "extension": [inner]})


def test_depth(limited: Api) -> None:
    assert limited.post("Basic", nested(63)).status_code == 201
    refused = limited.post("Basic", nested(65))
    assert refused.status_code == 400
    assert "64 levels" in outcome(refused)["diagnostics"]


def test_parameters_of_a_query(limited: Api) -> None:
    assert limited.get("Patient?" + "&".join(["name=a"] * 100)).status_code == 200
    refused = limited.get("Patient?" + "&".join(["name=a"] * 501))
    assert "more than 500 parameters" in outcome(refused)["diagnostics"]


def test_operations_of_a_patch(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api()
    stored = api.create(patient())
    operation = {"op": "test", "path": "/id", "value": stored["id"]}
    assert api.patch(f"Patient/{stored['id']}", [operation] * 1000).status_code == 200
    refused = api.patch(f"Patient/{stored['id']}", [operation] * 1001)
    assert refused.status_code == 400
    assert "at most 1000 operations; split it" in outcome(refused)["diagnostics"]


class TestBytesOfAPage:
    """`limits.answer_bytes`: a page of large resources must not fill the memory."""

    @pytest.fixture
    def full(
        self, module_store: Store, request: pytest.FixtureRequest
    ) -> Iterator[tuple[Api, str, list[str]]]:
        """An endpoint whose answers hold 3,000 bytes, a tag, and the ids of what carries it, as created."""
        kind = request.node.callspec.params["module_store"]
        tag = uuid.uuid4().hex
        small = Api(
            module_store,
            Settings(store=StoreSettings(url=f"{kind}://"), limits=LimitSettings(answer_bytes=3_000)),
        )
        sizes = (1_000, 1_000, 1_000, 1_000, 9_000, 100, 100, 100, 2_500, 9_000)
        ids = [
            small.create(patient(meta={"tag": [{"code": tag}]}, name=[{"text": "x" * size}]))["id"]
            for size in sizes
        ]
        yield small, tag, ids
        small.close()

    def pages(self, api: Api, url: str) -> Iterator[list[Json]]:
        following: str | None = url
        while following:
            page = api.get(following).json()
            yield [entry["resource"] for entry in page["entry"]]
            following = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)

    @pytest.mark.parametrize("sort", ["", "&_sort=-_lastUpdated", "&_sort=_id"])
    def test_a_page_ends_earlier_and_the_next_link_goes_on(
        self, full: tuple[Api, str, list[str]], sort: str
    ) -> None:
        api, tag, ids = full
        found = list(self.pages(api, f"Patient?_tag={tag}&_count=50{sort}"))
        assert sorted(each["id"] for page in found for each in page) == sorted(ids)
        assert all(len(page) == 1 or sum(len(encode(each)) for each in page) <= 3_000 for page in found)
        assert 5 <= len(found) < 10

    def test_so_does_history(self, full: tuple[Api, str, list[str]]) -> None:
        api, _, ids = full
        found = []
        for page in self.pages(api, "Patient/_history?_count=50"):
            assert len(page) == 1 or sum(len(encode(each)) for each in page) <= 3_000
            found += [each["id"] for each in page]
            if set(ids) <= set(found):
                break
        assert found[:10] == ids[::-1]

    def test_what_is_included_has_as_much_room_again_and_no_more(
        self, full: tuple[Api, str, list[str]]
    ) -> None:
        api, tag, ids = full
        for id in ids[:4]:
            subject = {"reference": f"Patient/{id}"}
            api.create({"resourceType": "Basic", "code": {"text": tag}, "subject": subject})
        few = api.get(f"Basic?subject={ids[0]}&_include=Basic:subject")
        assert len(few.json()["entry"]) == 2
        twice = api.get(f"Patient?_id={ids[0]}&_revinclude=Basic:subject&_revinclude=Basic:patient")
        assert len(twice.json()["entry"]) == 2
        many = api.get(f"Basic?subject={','.join(ids[:4])}&_include=Basic:subject")
        assert many.status_code == 400
        assert "smaller _count" in outcome(many)["diagnostics"]


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'"a, {",', b'{"given":"a"},'])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_elements_are_counted_before_they_are_read(
    sqlite_api: Callable[..., Api], piece: bytes, packed: bool
) -> None:
    api = sqlite_api(limits=LimitSettings(elements=1_000))
    start, rest = b'{"resourceType":"Patient","name":[', b'{"text":"a, {b"}]}'
    for body, status in ((piece * 100, 422), (piece * 1_000, 413)):
        sent = start + body + rest
        for url in ("Patient", "Patient/$validate", ""):
            answer = api.post(
                url,
                gzip.compress(sent) if packed else sent,
                **({"content_encoding": "gzip"} if packed else {}),
            )
            assert (answer.status_code == 413) is (status == 413), answer.text[:300]
    assert "1,000 values and members" in outcome(answer)["diagnostics"]
    text = patient(name=[{"text": "a, {b" * 1_000}])
    assert api.post("Patient", jsontext.encode(text)).status_code == 201


def test_the_default_bound_on_elements_is_that_of_files() -> None:
    assert LimitSettings().elements == jsontext.MAX_ELEMENTS

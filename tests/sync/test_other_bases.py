"""An EHR under another address: behind a proxy, by http for https, by an inner name, or renamed."""

from __future__ import annotations

from typing import Any

import pytest
import respx

from fhir_coprod.store import Query, Store
from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.ehr.paging import Entry
from fhir_coprod.sync.staging.references import Bases, Record
from tests.sync.records import Json, patient, referral
from tests.sync.test_pages import BASE, offer, offers, page, synced

INNER = "http://hapi:8080/fhir"


def care(base: str, *, full_urls: bool = True, patients: Any = ("p",)) -> None:
    """A server that calls itself `base` in what it shows."""
    offers(offer("Patient", "search-type"), offer("ServiceRequest", "search-type"))

    def entry(resource: Json) -> Json:
        address = f"{base}/{resource['resourceType']}/{resource['id']}"
        return {"resource": resource, **({"fullUrl": address} if full_urls else {})}

    respx.get(f"{BASE}/Patient").respond(json=page(*(entry(patient(id, id)) for id in patients)))
    orders = (entry(referral(f"s-{id}", f"{base}/Patient/{id}")) for id in patients)
    respx.get(f"{BASE}/ServiceRequest").respond(json=page(*orders))


def subject(store: Store) -> str:
    (found,) = store.search(Query.parse("ServiceRequest", [])).matches
    return str(found.data["subject"]["reference"])


def of_us(store: Store) -> str:
    (found,) = store.search(Query.parse("Patient", [])).matches
    return found.reference


@respx.mock
def test_the_address_that_a_server_writes_on_its_pages_is_its_own(store: Store) -> None:
    care(INNER)
    synced(store, "Patient", "ServiceRequest")
    assert subject(store) == of_us(store)


@respx.mock
@pytest.mark.parametrize(
    ("base", "aliases"),
    [
        (INNER, (INNER,)),
        (INNER, ("http://old.example/fhir", f"{INNER}/")),
        (BASE.replace("https", "http"), ()),
        (BASE.replace("https://care.example", "https://CARE.example:443"), ()),
        (BASE.replace("https://care.example", "http://care.example:80"), ()),
    ],
)
def test_an_alias_or_the_same_address_by_another_scheme_is_the_ehr(
    store: Store, base: str, aliases: tuple[str, ...]
) -> None:
    care(base, full_urls=False)
    synced(store, "Patient", "ServiceRequest", aliases=aliases)
    assert subject(store) == of_us(store)


@respx.mock
def test_an_alias_that_is_set_later_finds_what_was_read_before(store: Store) -> None:
    care(INNER, full_urls=False)
    synced(store, "Patient", "ServiceRequest")
    assert subject(store) == f"{INNER}/Patient/p"
    synced(store, "Patient", "ServiceRequest", aliases=(INNER,))
    assert subject(store) == of_us(store)
    assert (
        synced(store, "Patient", "ServiceRequest", aliases=(INNER,)).counts["ServiceRequest"].unchanged == 1
    )


@respx.mock
def test_an_address_found_in_one_run_is_known_in_the_next(store: Store) -> None:
    care(INNER)
    synced(store, "Patient")
    respx.get(f"{BASE}/ServiceRequest").respond(json=page({"resource": referral("s", f"{INNER}/Patient/p")}))
    synced(store, "Patient", "ServiceRequest")
    assert subject(store) == of_us(store)


def entries(*addresses: str) -> list[Entry]:
    return [
        Entry(b'{"resourceType":"Patient","id":"%s"}' % address.rsplit("/", 1)[-1].encode(), address=address)
        for address in addresses
    ]


@pytest.mark.parametrize(
    ("addresses", "base"),
    [
        ([f"{INNER}/Patient/1", f"{INNER}/Patient/2"], INNER),
        ([f"{INNER}/Patient/1", "http://other/fhir/Patient/2"], ""),
        ([f"{INNER}/Patient/1", f"{BASE}/Patient/2"], ""),
        (["urn:uuid:1", f"{INNER}/Patient/2", ""], INNER),
        ([f"{INNER}/Person/1"], ""),
        ([], ""),
    ],
)
def test_only_one_address_for_all_records_is_the_servers_own(addresses: list[str], base: str) -> None:
    """A server that shows other servers' records writes several, and their ids are not its own."""
    assert paging.base_of(entries(*addresses), BASE) == base


def test_an_address_belongs_to_the_ehr_that_has_it() -> None:
    bases = Bases({"a": "https://a.example/fhir", "b": "https://b.example/fhir"}, {"a": (INNER,)})
    assert bases.target(f"{INNER}/Patient/1", "b") == Record("a", "Patient", "1")
    assert bases.target("http://b.example/fhir/Patient/1/_history/2", "a") == Record("b", "Patient", "1")
    assert bases.target("https://b.example/fhirx/Patient/1", "a") is None
    assert bases.address(Record("a", "Patient", "1")) == "https://a.example/fhir/Patient/1"
    assert bases.is_known("http://a.example/fhir")
    assert not bases.is_known("http://a.example/other")


def test_an_address_of_two_ehrs_means_in_each_its_own() -> None:
    bases = Bases({"a": "https://x.example/a", "b": "https://x.example/b"}, {"a": (INNER,), "b": (INNER,)})
    assert bases.target(f"{INNER}/Patient/1", "a") == Record("a", "Patient", "1")
    assert bases.target(f"{INNER}/Patient/1", "b") == Record("b", "Patient", "1")


@respx.mock
def test_the_address_of_another_ehr_is_not_learned_as_ones_own(store: Store) -> None:
    assert Bases({"a": "https://a.example"}).knowing([("z", INNER), ("a", "https://a.example")]).aliases == {}

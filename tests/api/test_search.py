"""Search over HTTP: both verbs, paging by links, counts, includes, several types; matching is the store's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.api.conftest import Api, identifier_of, outcome, patient


def links(bundle: Any) -> dict[str, str]:
    return {link["relation"]: link["url"] for link in bundle["link"]}


@pytest.fixture
def family(api: Api) -> str:
    """A family name that seven patients share."""
    name = "F" + patient()["identifier"][0]["value"]
    for n in range(7):
        api.create(patient(name=[{"family": name}], birthDate=f"19{n}0-01-01"))
    return name


def pages(api: Api, url: str) -> Iterator[Any]:
    following: str | None = url
    while following:
        page = api.get(following).json()
        yield page
        following = links(page).get("next")


def test_paging_gives_every_match_once(api: Api, family: str) -> None:
    found = list(pages(api, f"Patient?family={family}&_count=3"))
    assert [len(page["entry"]) for page in found] == [3, 3, 1]
    ids = [entry["resource"]["id"] for page in found for entry in page["entry"]]
    assert len(set(ids)) == 7
    assert all(entry["search"] == {"mode": "match"} for page in found for entry in page["entry"])
    assert all(
        entry["fullUrl"].endswith(entry["resource"]["id"]) for page in found for entry in page["entry"]
    )


def test_self_link_gives_the_same_page_again(api: Api, family: str) -> None:
    for page in pages(api, f"Patient?family={family}&_count=3&_sort=-birthdate"):
        again = api.get(links(page)["self"]).json()
        assert again == page


def test_post_search_is_the_same_as_get(api: Api, family: str) -> None:
    got = api.get(f"Patient?family={family}&_sort=birthdate").json()
    form = {"content_type": "application/x-www-form-urlencoded"}
    posted = api.post("Patient/_search", f"family={family}&_sort=birthdate".encode(), **form).json()
    assert posted == got
    mixed = api.post("Patient/_search?_sort=birthdate", f"family={family}".encode(), **form).json()
    assert [e["resource"]["id"] for e in mixed["entry"]] == [e["resource"]["id"] for e in got["entry"]]


def test_count_zero_and_summary_count_give_the_total_only(api: Api, family: str) -> None:
    for parameter in ("_count=0", "_summary=count"):
        bundle = api.get(f"Patient?family={family}&{parameter}").json()
        assert bundle["total"] == 7
        assert "entry" not in bundle


def test_total_is_given_when_asked_for(api: Api, family: str) -> None:
    assert api.get(f"Patient?family={family}&_count=2&_total=accurate").json()["total"] == 7


def test_no_match_is_an_empty_searchset(api: Api) -> None:
    bundle = api.get("Patient?family=nobody-is-called-so").json()
    assert bundle == {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": 0,
        "link": [{"relation": "self", "url": "http://localhost/fhir/Patient?family=nobody-is-called-so"}],
    }


def test_page_size_stays_below_the_limit(api: Api) -> None:
    bundle = api.get("StructureDefinition?_count=5000").json()
    assert ("_count", "100") in parse_qsl(urlsplit(links(bundle)["self"]).query)


def test_includes_come_along_and_are_marked(api: Api) -> None:
    subject = api.create(patient())
    reference = f"Patient/{subject['id']}"
    api.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": reference},
        }
    )
    forward = api.get(f"Observation?subject={reference}&_include=Observation:subject").json()
    assert [(e["resource"]["resourceType"], e["search"]["mode"]) for e in forward["entry"]] == [
        ("Observation", "match"),
        ("Patient", "include"),
    ]
    back = api.get(f"Patient?identifier={identifier_of(subject)}&_revinclude=Observation:subject").json()
    assert [e["search"]["mode"] for e in back["entry"]] == ["match", "include"]


def test_absolute_references_to_this_server_are_understood(api: Api) -> None:
    subject = api.create(patient())
    api.create(
        {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": f"Patient/{subject['id']}"}}
    )
    bundle = api.get(f"Basic?subject=http://localhost/fhir/Patient/{subject['id']}").json()
    assert bundle["total"] == 1


def test_search_over_several_types(api: Api) -> None:
    stored = api.create(patient())
    bundle = api.get(f"?_type=Patient,Basic&_id={stored['id']}").json()
    assert [entry["resource"] for entry in bundle["entry"]] == [stored]
    form = {"content_type": "application/x-www-form-urlencoded"}
    posted = api.post("_search", f"_type=Patient&_id={stored['id']}".encode(), **form).json()
    assert [entry["resource"] for entry in posted["entry"]] == [stored]
    assert api.get("?_type=Nonsense").status_code == 404


def test_what_is_not_supported_says_so_under_strict_handling(api: Api) -> None:
    for parameter in ("code-value-quantity=http://a|b$5", "code:in=http://a", "nonsense=1"):
        answer = api.get(f"Observation?{parameter}", Prefer="handling=strict")
        assert answer.status_code == 400
        assert outcome(answer)["code"] == "not-supported"


def test_our_own_definitions_are_found_and_read_only(api: Api) -> None:
    bundle = api.get(
        "StructureDefinition?url=https://fhir-coprod.org/ig/StructureDefinition/referral-task"
    ).json()
    found = bundle["entry"][0]["resource"]
    assert found["id"] == "referral-task"
    assert api.get("StructureDefinition/referral-task").json() == found
    for answer in (
        api.put("StructureDefinition/referral-task", found),
        api.delete("StructureDefinition/referral-task"),
        api.patch("StructureDefinition/referral-task", [{"op": "replace", "path": "/name", "value": "Mine"}]),
    ):
        assert answer.status_code == 403
        assert "read-only" in outcome(answer)["diagnostics"]

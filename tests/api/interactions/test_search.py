"""Search over HTTP: both verbs, paging by links, counts, includes, several types; matching is the store's."""

from __future__ import annotations

import base64
import json
import time
import uuid
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
    for parameter in ("code-value-quantity:exact=http://a|b$5", "code:in=http://a", "nonsense=1"):
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


def found(api: Api, url: str) -> list[str]:
    answer = api.get(url)
    assert answer.status_code == 200, answer.text
    return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


def test_what_a_chain_may_lead_to_in_several_ways_stays_one_criterion(api: Api) -> None:
    """`performer.name` looks among people and organisations: that "or" swallows nothing beside it."""
    ward = api.create({"resourceType": "Organization", "name": "W" + uuid.uuid4().hex})
    woman, man = api.create(patient(gender="female")), api.create(patient(gender="male"))
    other = api.create({"resourceType": "Organization", "name": "O" + uuid.uuid4().hex})
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    for subject, performer in ((man, ward), (woman, other)):
        api.create(
            {
                **seen,
                "subject": {"reference": f"Patient/{subject['id']}"},
                "performer": [{"reference": f"Organization/{performer['id']}"}],
            }
        )
    here = f"_has:Observation:patient:performer.name={ward['name']}"
    ids = f"_id={woman['id']},{man['id']}"
    assert found(api, f"Patient?{ids}&{here}") == [man["id"]]
    assert found(api, f"Patient?{ids}&gender=female&{here}") == []
    assert found(api, f"Patient?_id={woman['id']}&{here}") == []
    one = api.create(patient(generalPractitioner=[{"reference": f"Organization/{other['id']}"}]))
    assert found(api, f"Patient?_id={one['id']}&general-practitioner.name={ward['name']}") == []
    assert found(api, f"Patient?_id={one['id']}&general-practitioner.name={other['name']}") == [one["id"]]


def test_what_is_denied_over_several_types_is_denied_in_each(api: Api) -> None:
    tag = uuid.uuid4().hex
    tagged = api.create(patient(meta={"tag": [{"code": tag}, {"code": f"{tag}-x"}]}))
    plain = api.create(patient(meta={"tag": [{"code": tag}]}))
    basic = api.create({"resourceType": "Basic", "code": {"text": "x"}, "meta": {"tag": [{"code": tag}]}})
    here = f"?_type=Patient,Basic&_tag={tag}"
    assert set(found(api, here)) == {tagged["id"], plain["id"], basic["id"]}
    assert set(found(api, f"{here}&_tag:not={tag}-x")) == {plain["id"], basic["id"]}
    assert found(api, f"{here}&_tag:missing=true") == []


def test_id_and_last_updated_take_not_and_missing_and_refuse_other_modifiers(api: Api) -> None:
    one, other = api.create(patient()), api.create(patient())
    both = f"_id={one['id']},{other['id']}"
    assert found(api, f"Patient?{both}&_id:not={one['id']}") == [other["id"]]
    for code in ("_id", "_lastUpdated"):
        assert found(api, f"Patient?{both}&{code}:missing=true") == []
        assert set(found(api, f"Patient?{both}&{code}:missing=false")) == {one["id"], other["id"]}
        assert api.get(f"Patient?{code}:missing=maybe").status_code == 400
        refused = api.get(f"Patient?{code}:exact=x", prefer="handling=strict")
        assert refused.status_code == 400
        assert f"{code}:exact" in outcome(refused)["diagnostics"]


def test_a_chain_over_every_type_is_refused_at_once_and_says_what_to_do(api: Api) -> None:
    began = time.perf_counter()
    answer = api.get("Task?subject.subject.subject.subject.subject.subject._id=x")
    assert answer.status_code == 400
    assert "name them, as in subject:Patient.name" in outcome(answer)["diagnostics"]
    assert time.perf_counter() - began < 2
    assert found(api, "Task?subject:Patient.organization.name=nobody") == []


def test_business_identifiers_below_our_own_address_stay_what_they_are(api: Api) -> None:
    value = uuid.uuid4().hex
    here = "http://localhost/fhir/sid/mrn"
    stored = api.create(patient(identifier=[{"system": here, "value": value}]))
    assert found(api, f"Patient?identifier={here}|{value}") == [stored["id"]]
    assert api.delete(f"Patient?identifier={here}|{value}").status_code == 204


def test_an_absolute_reference_to_a_resource_here_is_followed_like_a_relative_one(api: Api) -> None:
    subject = api.create(patient())
    absolute = f"http://localhost/fhir/Patient/{subject['id']}"
    made = api.create({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": absolute}})
    assert made["subject"]["reference"] == f"Patient/{subject['id']}"
    assert found(api, f"Basic?subject={absolute}") == [made["id"]]
    assert found(api, f"Basic?subject=Patient/{subject['id']}") == [made["id"]]
    assert found(api, f"Basic?_id={made['id']}&_include=Basic:subject") == [made["id"], subject["id"]]
    elsewhere = {"reference": "http://other/fhir/Patient/1"}
    kept = api.create({"resourceType": "Basic", "code": {"text": "x"}, "subject": elsewhere})
    assert kept["subject"] == elsewhere


@pytest.mark.parametrize("types", ["Patient", "Patient,Basic,Task", ""])
def test_many_values_over_many_types_are_searched(api: Api, types: str) -> None:
    """More than SQLite takes in one compound: what only the last value names must be among what is found."""
    tag = uuid.uuid4().hex
    stored = api.create(patient(meta={"tag": [{"code": tag}]}))
    count = 450 if types else 20
    values = ",".join([*(f"{n}" for n in range(count)), tag])
    for pages in ("", "&_id=" + stored["id"]):
        assert found(api, f"?{f'_type={types}&' if types else ''}_tag={values}{pages}") == [stored["id"]]


def test_many_values_behind_a_chain_over_every_type_are_refused_and_behind_a_named_one_searched(
    api: Api,
) -> None:
    values = ",".join(f"{n}" for n in range(400))
    refused = api.get(f"Observation?focus._tag={values}")
    assert refused.status_code == 400
    assert "subject:Patient.name" in outcome(refused)["diagnostics"]
    assert api.get(f"Observation?focus:Patient._tag={values}").status_code == 200
    assert api.get("?" + "&".join(f"_tag={n},x,y,z" for n in range(30))).status_code == 400


def test_many_dates_are_searched_and_too_much_at_once_says_so(api: Api) -> None:
    dates = ",".join(f"ge{1900 + n}-01-01" for n in range(200))
    assert api.get(f"Patient?birthdate={dates}").status_code == 200
    answer = api.get("?_tag=" + ",".join(str(n) for n in range(100)))
    assert answer.status_code == 400
    assert "_type" in outcome(answer)["diagnostics"]


@pytest.mark.parametrize("sort", ["", "birthdate", "family", "_id", "-_lastUpdated"])
def test_a_cursor_that_was_tampered_with_is_400(api: Api, family: str, sort: str) -> None:
    url = f"Patient?family={family}&_count=2" + (f"&_sort={sort}" if sort else "")
    given = dict(parse_qsl(urlsplit(links(api.get(url).json())["next"]).query))["_cursor"]
    place = json.loads(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    for values in ([*place[:-1], 2**63], [*place[:-1], True], [*place[:-1], "1"], [place[0], [], place[-1]]):
        cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        assert api.get(f"{url}&_cursor={cursor}").status_code == 400, values
    if sort:
        wrong = 1 if isinstance(place[1], str) else "x"
        cursor = (
            base64.urlsafe_b64encode(json.dumps([place[0], wrong, place[-1]]).encode()).decode().rstrip("=")
        )
        assert api.get(f"{url}&_cursor={cursor}").status_code == 400

"""What the rules of a merge may say, and where each of them ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.sync.merging.merge import ORIGIN, Part, merged, read, rules

A, B, C = (f"https://{ehr}.example/Patient/1" for ehr in "abc")


def of(*records: dict[str, Any], type: str = "Patient") -> dict[str, Any]:
    texts = [json.dumps({"resourceType": type, **record}).encode() for record in records]
    parts = [Part(text, origin) for text, origin in zip(texts, (A, B, C), strict=False)]
    found: dict[str, Any] = json.loads(merged(type, parts, f"{type}/own"))
    return found


def said(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text.encode(), "merge.toml")
    return caught.value.message


@pytest.mark.parametrize(
    ("rule", "mistake"),
    [
        ('[Patiant]\nunion = ["name"]', "Patiant"),
        ('[Patient]\nunion = ["nam"]', "nam"),
        ('[Patient]\nfill = ["gendr"]', "gendr"),
        ('[Patient]\nunion = ["gender"]', "Patient.gender is no list; name it in fill or once_said."),
        ('[Patient]\nonce_said = ["contact.name"]', "elements are merged whole; write 'contact'."),
        ('[Patient]\nunion = ["name"]\nfill = ["name"]', "'name' is named twice; keep one."),
        ('[Task]\nowner = "status"', "Task.status names no Organization."),
        ('[Task]\nreceiver = "focus.x"', "elements are merged whole; write 'focus'."),
        ('[Task]\nowner = "ownr"', "ownr"),
        ("[Task]\nnewst = true", "newst"),
    ],
)
def test_a_rule_that_r4_does_not_have_is_a_mistake(rule: str, mistake: str) -> None:
    assert mistake in said(rule)


def test_every_mistake_is_counted() -> None:
    text = said('[Patient]\nunion = ["gender"]\n[Task]\nowner = "status"\n')
    assert "Patient.gender is no list" in text
    assert "(1 more mistakes in this file.)" in text


def test_good_rules_are_read_as_they_stand() -> None:
    text = (
        b'[Patient]\nunion = ["name"]\nfill = ["gender"]\nonce_said = ["deceased[x]"]\n'
        b'[ServiceRequest]\nowner = "requester"\nreceiver = "performer"\nnewest = true\n'
    )
    found = read(text, "merge.toml")
    patient, order = found["Patient"], found["ServiceRequest"]
    assert (patient.union, patient.fill, patient.once_said) == (("name",), ("gender",), ("deceased[x]",))
    assert (order.owner, order.receiver, order.newest) == ("requester", "performer", True)
    assert (patient.owner, patient.receiver, patient.newest) == ("", "", False)


def test_the_latest_word_counts_for_tasks_alone() -> None:
    assert [type for type, rule in rules().items() if rule.newest] == ["Task"]
    assert {type: (rule.owner, rule.receiver) for type, rule in rules().items() if rule.owner} == {
        "ServiceRequest": ("requester", "performer"),
        "Task": ("owner", ""),
    }


def test_what_a_third_record_adds_stands_after_the_second_and_of_one_kind_once() -> None:
    def phone(value: str, **more: Any) -> dict[str, Any]:
        return {"telecom": [{"system": "phone", "value": value, **more}]}

    found = of(
        phone("1"), phone("2"), {"telecom": [*phone("2", use="home")["telecom"], *phone("3")["telecom"]]}
    )
    assert [item["value"] for item in found["telecom"]] == ["1", "2", "3"]
    origins = [[e["valueUri"] for e in item.get("extension", [])] for item in found["telecom"]]
    assert origins == [[], [B], [C]]


@pytest.mark.parametrize("element", ["identifier", "telecom"])
def test_system_and_value_tell_identifiers_and_numbers_apart(element: str) -> None:
    first, second = {"system": "phone", "value": "1"}, {"system": "phone", "value": "1", "use": "old"}
    assert len(of({element: [first]}, {element: [second]})[element]) == 1
    assert len(of({element: [first]}, {element: [{"system": "fax", "value": "1"}]})[element]) == 2
    assert len(of({element: [first]}, {element: [{"value": "1"}]})[element]) == 2
    nothing = {"system": "phone", "use": "old"}
    assert len(of({element: [{"system": "phone"}]}, {element: [nothing]})[element]) == 2


def test_other_items_are_the_same_only_when_all_of_them_is() -> None:
    first = {"system": "x", "value": "1", "text": "a"}
    second = {"system": "x", "value": "1", "text": "b"}
    assert len(of({"name": [first]}, {"name": [second]})["name"]) == 2


def test_an_item_that_has_an_extension_keeps_it_before_its_origin() -> None:
    name = {"extension": [{"url": "x", "valueCode": "y"}], "family": "Ek"}
    (found,) = of({}, {"name": [name]})["name"]
    assert found["extension"] == [{"url": "x", "valueCode": "y"}, {"url": ORIGIN, "valueUri": B}]


def test_what_comes_of_a_record_without_an_address_has_no_origin_and_no_link() -> None:
    texts = [b'{"resourceType":"Patient"}', b'{"resourceType":"Patient","name":[{"family":"Ek"}]}']
    parts = [Part(text, "") for text in texts]
    found = json.loads(merged("Patient", parts, "Patient/own"))
    assert found["name"] == [{"family": "Ek"}]
    assert "link" not in found


def test_an_element_that_is_null_adds_nothing() -> None:
    assert "name" not in of({}, {"name": None})
    assert of({"name": [{"family": "Ek"}]}, {"name": None})["name"] == [{"family": "Ek"}]


def test_what_is_filled_is_that_of_the_first_record_that_has_it() -> None:
    found = of({}, {"gender": "male"}, {"gender": "female", "birthDate": "1970-01-02"})
    assert (found["gender"], found["birthDate"]) == ("male", "1970-01-02")
    extension = {"_gender": {"extension": [{"url": "x", "valueCode": "unknown"}]}}
    assert of(extension, {"_gender": {"id": "x"}})["_gender"] == extension["_gender"]
    assert of({"gender": "male"}, {**extension, "gender": "female"}).keys() & {"gender", "_gender"} == {
        "gender"
    }


def test_only_patients_are_linked_to_their_records() -> None:
    assert "link" not in of({}, {}, type="Organization")
    assert [link["other"]["reference"] for link in of({}, {}, {})["link"]] == [A, B, C]
    assert "link" not in of({}), "one record alone is the patient itself"


@pytest.mark.parametrize("odd", ["odd", {}, {"other": "odd"}, {"other": {}}])
def test_an_odd_link_is_kept_as_it_is(odd: Any) -> None:
    assert of({"link": [odd]}, {})["link"][0] == odd

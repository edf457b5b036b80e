"""Merging records of the same thing from several EHRs into one resource, byte for byte where possible."""

from __future__ import annotations

import json

import pytest

from fhir_coprod import definitions
from fhir_coprod.sync.merging.elements import element_of
from fhir_coprod.sync.merging.merge import ORIGIN, Part, merged, rules
from fhir_coprod.sync.staging.identity import MATCHED

A, B = "https://a.example/fhir/Patient/1", "https://b.example/fhir/Patient/9"


def two(first: str, second: str, type: str = "Patient") -> str:
    parts = [Part(text.encode(), origin) for text, origin in ((first, A), (second, B))]
    return merged(type, parts, f"{type}/own").decode()


def test_the_first_record_leads_and_the_second_adds_what_it_lacks() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Patient","gender":"female","identifier":[{"system":"s","value":"1"}]}',
            '{"resourceType":"Patient","gender":"male","birthDate":"1970-01-02","identifier":[{"system":"s","value":"1","use":"usual"},{"system":"mrn","value":"77"}]}',
        )
    )
    assert result["gender"] == "female"
    assert result["birthDate"] == "1970-01-02"
    assert result["identifier"] == [
        {"system": "s", "value": "1"},
        {"extension": [{"url": ORIGIN, "valueUri": B}], "system": "mrn", "value": "77"},
    ]


def test_a_merged_patient_links_to_each_of_its_records() -> None:
    result = json.loads(two('{"resourceType":"Patient"}', '{"resourceType":"Patient"}'))
    assert [(link["other"]["reference"], link["type"]) for link in result["link"]] == [
        (A, "seealso"),
        (B, "seealso"),
    ]


def test_a_link_to_a_record_that_is_there_already_is_not_doubled() -> None:
    first = f'{{"resourceType":"Patient","link":[{{"other":{{"reference":"{B}"}},"type":"refer"}}]}}'
    result = json.loads(two(first, '{"resourceType":"Patient"}'))
    assert sorted((x["other"]["reference"], x["type"]) for x in result["link"]) == [
        (A, "seealso"),
        (B, "refer"),
    ]


def test_an_added_extension_is_not_marked_with_its_origin() -> None:
    """ext-1 (R4): an extension has a value or extensions, never both."""
    added = '{"url":"y","valueCode":"z"}'
    result = two('{"resourceType":"Patient"}', f'{{"resourceType":"Patient","extension":[{added}]}}')
    assert json.loads(result)["extension"] == [json.loads(added)]


def test_a_link_to_itself_is_left_out() -> None:
    first = '{"resourceType":"Patient","link":[{"other":{"reference":"Patient/own"},"type":"replaces"}]}'
    result = json.loads(two(first, '{"resourceType":"Patient"}'))
    assert {link["type"] for link in result["link"]} == {"seealso"}


def test_texts_stay_as_they_were_written() -> None:
    result = two(
        '{"resourceType":"Patient","name":[{"family":"\\u00d6st",  "given":["Eva"]}]}',
        '{"resourceType":"Patient","name":[{"family":"Ek" , "_family":{"id":"x"}}]}',
    )
    assert '{"family":"\\u00d6st",  "given":["Eva"]}' in result
    assert '"family":"Ek"' in result


def test_the_same_in_another_spelling_is_taken_once() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Patient","address":[{"city":"Lund","country":"SE"}]}',
            '{"resourceType":"Patient","address":[{ "country":"SE", "city":"Lund"}]}',
        )
    )
    assert len(result["address"]) == 1


def test_an_extension_of_a_kind_that_is_there_already_is_not_doubled() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Patient","extension":[{"url":"x","valueBoolean":true}]}',
            '{"resourceType":"Patient","extension":[{"url":"x","valueBoolean":false},{"url":"y","valueCode":"z"}]}',
        )
    )
    assert [extension["url"] for extension in result["extension"]] == ["x", "y"]
    assert result["extension"][0]["valueBoolean"] is True


def test_what_points_into_another_record_is_not_taken_along() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Patient"}',
            '{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"g"}],"generalPractitioner":[{"reference":"#g"},{"reference":"Organization/2"}]}',
        )
    )
    assert [reference["reference"] for reference in result["generalPractitioner"]] == ["Organization/2"]


def test_the_originator_owns_all_of_an_order_but_its_identifiers() -> None:
    result = json.loads(
        two(
            '{"resourceType":"ServiceRequest","status":"active","identifier":[{"system":"s","value":"1"}]}',
            '{"resourceType":"ServiceRequest","status":"completed","occurrenceDateTime":"2026-01-01","identifier":[{"system":"rec","value":"7"}]}',
            "ServiceRequest",
        )
    )
    assert result["status"] == "active"
    assert "occurrenceDateTime" not in result
    assert [identifier["value"] for identifier in result["identifier"]] == ["1", "7"]


def test_every_matched_type_has_a_rule_that_names_real_elements() -> None:
    assert set(rules()) == set(MATCHED)
    for type, rule in rules().items():
        paths = {element["path"]: element for element in definitions.structure(type)["snapshot"]["element"]}
        for element in rule.union:
            assert paths[f"{type}.{element}"]["max"] == "*", element
        for element in (*rule.fill, *rule.once_said, *filter(None, (rule.owner, rule.receiver))):
            assert f"{type}.{element}" in paths, element


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("", '"deceasedDateTime":"2026-01-02"', {"deceasedDateTime": "2026-01-02"}),
        ('"deceasedBoolean":false', '"deceasedDateTime":"2026-01-02"', {"deceasedDateTime": "2026-01-02"}),
        ('"deceasedBoolean":false', '"deceasedBoolean":true', {"deceasedBoolean": True}),
        ('"deceasedBoolean":true', '"deceasedBoolean":false', {"deceasedBoolean": True}),
        ('"deceasedDateTime":"2026"', '"deceasedBoolean":false', {"deceasedDateTime": "2026"}),
        ("", '"deceasedBoolean":false', {"deceasedBoolean": False}),
        ('"deceasedBoolean":false', '"_deceasedDateTime":{"id":"x"}', {"_deceasedDateTime": {"id": "x"}}),
        ('"deceasedBoolean":false', '"_deceasedBoolean":{"id":"x"}', {"deceasedBoolean": False}),
        ("", "", {}),
    ],
)
def test_who_is_dead_at_one_department_is_dead(first: str, second: str, expected: dict[str, object]) -> None:
    head = '{"resourceType":"Patient"'
    result = json.loads(two(*(f"{head}{',' if x else ''}{x}}}" for x in (first, second))))
    assert {key: value for key, value in result.items() if "eceased" in key} == expected


def test_active_is_what_the_first_record_says() -> None:
    result = json.loads(
        two('{"resourceType":"Patient","active":true}', '{"resourceType":"Patient","active":false}')
    )
    assert result["active"] is True
    assert "active" not in json.loads(
        two('{"resourceType":"Patient"}', '{"resourceType":"Patient","active":false}')
    )


def test_a_value_takes_the_place_of_a_reason_why_there_is_none() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Patient","_birthDate":{"extension":[{"url":"x","valueCode":"unknown"}]}}',
            '{"resourceType":"Patient","birthDate":"1970-01-02"}',
        )
    )
    assert result["birthDate"] == "1970-01-02"
    assert "_birthDate" not in result


def test_extensions_of_a_list_of_words_stay_beside_their_words() -> None:
    result = json.loads(
        two(
            '{"resourceType":"Organization","alias":["A"],"_alias":[{"id":"x"}]}',
            '{"resourceType":"Organization","alias":[null,"B"],"_alias":[{"id":"y"},null]}',
            "Organization",
        )
    )
    assert (result["alias"], result["_alias"]) == (["A", "B"], [{"id": "x"}, None])


@pytest.mark.parametrize(
    ("type", "member", "element"),
    [
        ("Goal", "startDate", "start[x]"),
        ("Goal", "_startDate", "start[x]"),
        ("Goal", "startCodeableConcept", "start[x]"),
        ("Goal", "statusDate", "statusDate"),
        ("Goal", "_statusDate", "statusDate"),
        ("Patient", "multipleBirthInteger", "multipleBirth[x]"),
    ],
)
def test_the_members_of_one_element_belong_together(type: str, member: str, element: str) -> None:
    assert element_of(type, member) == element

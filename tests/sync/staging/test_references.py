"""What a record refers to, and how its references are written here."""

from __future__ import annotations

import json

import pytest

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.sync.staging.references import (
    Bases,
    Holder,
    Record,
    absolute_attachments,
    add_references,
    held,
    named,
    rewritten,
)

BASES = Bases(
    {"a": "https://a.example/fhir", "b": "https://b.example/fhir", "nested": "https://a.example/fhir/x"}
)


def _held(data: Json) -> list[Holder]:
    return list(held(jsontext.encode(data), data))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", Record("a", "Patient", "1")),
        ("Patient/1/_history/7", Record("a", "Patient", "1")),
        ("https://a.example/fhir/Patient/1", Record("a", "Patient", "1")),
        ("https://a.example/fhir/Patient/1/_history/2", Record("a", "Patient", "1")),
        ("https://b.example/fhir/Organization/o-1", Record("b", "Organization", "o-1")),
        ("https://a.example/fhir/x/Patient/1", Record("nested", "Patient", "1")),
        ("https://c.example/fhir/Patient/1", None),
        ("https://a.example/fhirPatient/1", None),
        ("#contained", None),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", None),
        ("Patient?identifier=1", None),
        ("Patient/", None),
        ("patient/1", None),
        ("", None),
    ],
)
def test_references_are_told_apart(text: str, expected: Record | None) -> None:
    assert BASES.target(text, "a") == expected


def test_an_address_that_two_ehrs_share_is_of_the_one_that_names_it() -> None:
    shared = Bases({"a": "https://x.example/fhir", "b": "https://x.example/fhir"})
    for ehr in ("a", "b"):
        assert shared.target("https://x.example/fhir/Patient/1", ehr) == Record(ehr, "Patient", "1")


def test_what_has_an_identifier_and_content_of_its_own_is_no_reference() -> None:
    inner = {"resourceType": "Organization", "identifier": {"system": "s", "value": "v"}}
    assert _held({"resourceType": "Task", "contained": [inner]}) == []


def test_references_in_contained_resources_and_extensions_are_found() -> None:
    data = {
        "resourceType": "Task",
        "contained": [{"resourceType": "Task", "focus": {"reference": "Task/in"}}],
        "extension": [{"url": "x", "valueReference": {"reference": "Task/ext"}}],
        "focus": {"reference": "#c", "identifier": {"system": "s", "value": "v"}},
    }
    assert set(named(jsontext.encode(data))) == {"Task/in", "Task/ext", "#c"}
    assert _held(data) == []


def test_a_logical_reference_is_an_identifier_without_a_literal_one() -> None:
    data = {
        "resourceType": "Task",
        "identifier": [{"system": "s", "value": "own"}],
        "owner": {"type": "Organization", "identifier": {"system": "s", "value": "v"}},
        "requester": {"identifier": {"value": "no system"}},
        "restriction": {"recipient": [{"identifier": {"system": "s", "value": "w"}, "display": "W"}]},
    }
    assert set(_held(data)) == {Holder("Organization", "s|v"), Holder("", "s|w")}


def test_a_found_holder_is_added_beside_its_identifier_and_nothing_else_moves() -> None:
    raw = (
        b'{ "resourceType":"Task", "identifier":[{"system":"s","value":"v"}],\n'
        b' "owner": {"identifier" : {"system":"s", "value":"v"}, "display":"{\\"}"},'
        b' "for":{"reference":"Patient/1"}, "note":[{"text":"\\"identifier\\": {"}], "n": 1.50 }'
    )
    added = add_references(raw, json.loads(raw), {Holder("", "s|v"): "Organization/x"})
    assert added == raw.replace(b'{"identifier" :', b'{"reference":"Organization/x","identifier" :')
    assert add_references(raw, json.loads(raw), {Holder("", "s|other"): "Organization/x"}) is raw


def test_of_two_logical_references_only_the_one_whose_holder_is_known_gets_an_address() -> None:
    known = {"identifier": {"system": "s", "value": "v"}}
    unknown = {"identifier": {"system": "s", "value": "w"}}
    raw = json.dumps({"resourceType": "Task", "owner": known, "requester": unknown}).encode()
    added = json.loads(add_references(raw, json.loads(raw), {Holder("", "s|v"): "Organization/x"}))
    assert added["owner"] == {"reference": "Organization/x", **known}
    assert added["requester"] == unknown


def test_a_reference_is_rewritten_where_it_stands_and_nothing_else_moves() -> None:
    raw = (
        b'{ "for" : {"reference" :\n"Patient/1", "display":"\\"reference\\":\\"Patient/1\\""},'
        b' "text":"Patient/1",\n'
        b'"focus":{"reference":"Task/\\u00e5\\/\\""}, "n": 1.50 }'
    )
    there = {"Patient/1": "Patient/x", 'Task/å/"': "Task/y"}
    expected = raw.replace(b'\n"Patient/1"', b'\n"Patient/x"').replace(b'"Task/\\u00e5\\/\\""', b'"Task/y"')
    assert rewritten(raw, there) == expected
    assert rewritten(raw, {}) is raw
    assert rewritten(raw, {"Patient/2": "Patient/x"}) == raw


def test_references_are_found_in_the_text_whatever_its_spelling() -> None:
    assert named(
        b'{"a":{"reference" : "Task/1"},"b":{"reference":"Task\\/2"},"c":{"reference":"Task/1"}}'
    ) == [
        "Task/1",
        "Task/2",
    ]
    assert named(b'{"a":{"r\\u0065ference":"Task/1"}}') == ["Task/1"]
    assert named(b'{"text":"\\"reference\\":\\"Task/1\\"","reference":7}') == []


def test_attachments_stay_at_their_ehr() -> None:
    raw = b'{"content":[{"attachment":{"url": "Binary/1"}}],"text":"\\"url\\":\\"Binary/2\\"","url":"http://x/Binary/1"}'
    assert absolute_attachments(raw, "https://a.example/fhir") == raw.replace(
        b'"Binary/1"}}', b'"https://a.example/fhir/Binary/1"}}'
    )

"""JSON as text that is kept: nothing but id, meta and references changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import parse, with_references

ORDER = b"""{ "id" : "foreign", "resourceType":"ServiceRequest", "meta":{"versionId":"9"},
  "subject":{"reference":"Patient/1"}, "quantityQuantity":{"value":19.00},
  "note":[{"text":"a \\"reference\\": \\"Patient/1\\""}], "doNotPerform" : true ,"n":1}"""


def test_splice_keeps_number_lexemes_and_texts_as_they_came() -> None:
    spliced = parse(ORDER).spliced("ours", {"versionId": "1"})
    assert b'"value":19.00' in spliced
    assert b'"a \\"reference\\": \\"Patient/1\\""' in spliced
    assert json.loads(spliced) == {
        **json.loads(ORDER),
        "id": "ours",
        "meta": {"versionId": "1"},
    }


def test_references_are_listed_wherever_they_stand_but_not_inside_texts() -> None:
    raw = b'{"resourceType":"List","entry":[{"item":{"reference":"A/1"}},{"item":{"reference":"#x"}}]}'
    assert parse(raw).references() == ["A/1", "#x"]
    spaced = b'{"resourceType":"List","a":"\\\\","b":{"reference" :\n "A\\u002f1"},"c":["reference","x"]}'
    assert parse(spaced).references() == ["A/1"]
    assert parse(ORDER).references() == ["Patient/1"]


def test_a_reference_is_found_and_rewritten_however_its_key_is_spelt() -> None:
    document = parse(
        b'{"resourceType":"Task","a":{"\\u0072eference":"A/1"},"reference":["A/1"],"b":{"reference":"A/1"}}'
    )
    assert document.references() == ["A/1", "A/1"]
    assert with_references(document.raw.decode(), {"A/1": "B/2"}) == (
        '{"resourceType":"Task","a":{"\\u0072eference":"B/2"},"reference":["A/1"],"b":{"reference":"B/2"}}'
    )


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\ :{}[],é', max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
resources = st.dictionaries(
    st.text('abc"\\:{},é ', min_size=1, max_size=5) | st.sampled_from(["id", "meta", "reference"]),
    values,
    max_size=6,
).map(lambda content: {"resourceType": "Basic", **content})


def layouts(resource: dict[str, Any]) -> list[bytes]:
    return [
        json.dumps(resource).encode(),
        json.dumps(resource, indent=1, ensure_ascii=False).encode(),
        json.dumps(resource, separators=(" ,", " : ")).encode(),
    ]


@given(resources)
def test_splice_changes_id_and_meta_only(resource: dict[str, Any]) -> None:
    for raw in layouts(resource):
        spliced = json.loads(parse(raw).spliced("ours", {"versionId": "2"}))
        assert spliced == {**resource, "id": "ours", "meta": {"versionId": "2"}}


@given(resources)
def test_hash_sees_content_and_neither_layout_nor_order_nor_identity(resource: dict[str, Any]) -> None:
    turned = dict(reversed(resource.items())) | {"id": "other", "meta": {"versionId": "7"}}
    hashes = {parse(raw).hash for raw in layouts(resource) + layouts(turned)}
    assert len(hashes) == 1


def test_hash_tells_two_precisions_of_a_decimal_apart() -> None:
    assert (
        parse(b'{"resourceType":"Basic","a":19.0}').hash != parse(b'{"resourceType":"Basic","a":19.00}').hash
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not valid JSON"),
        (b"<html>", "not valid JSON"),
        (b"[1]", "not an object"),
        (b'{"a":1,"a":2}', "'a' occurs twice"),
        (b'{"a" : {"b":1, "b" : 2}}', "'b' occurs twice"),
        (b'{"\\u0061":1,"a":2}', "'a' occurs twice"),
        (b'{"a":"\\u0000"}', "U+0000"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":"\xff"}', "JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nests deeper than 64"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests deeper"),
    ],
)
def test_what_decoders_swallow_is_refused_with_a_sentence(raw: bytes, said: str) -> None:
    with pytest.raises(NotJson) as error:
        parse(raw)
    assert said in str(error.value)
    assert error.value.status == 400


# How much else a document holds decides who measures it: nobody where there are few brackets, else the quick
# look at its layout, and the thorough one where that cannot tell or a text holds \\u00.
_BESIDE = {
    "few brackets": b"",
    "many brackets": b',"b":[' + b"[]," * 100 + b"{}]",
    "brackets in a text": b',"b":"' + b"{[" * 100 + b'"',
    "an escape": b',"b":"\\u0041"',
    "an escape and many brackets": b',"b":["\\u0041",' + b"[]," * 100 + b"{}]",
    "a colon in a text": b',"b":"a\\":",' + b'"c" : [' + b"[]," * 100 + b"{}]",
}


def nested(levels: int, innermost: bytes, opened: tuple[bytes, bytes], beside: bytes) -> bytes:
    """An object with that many levels of brackets down to the innermost value, and something beside."""
    empty = innermost in (b"{}", b"[]")
    inside = levels - 1 - empty
    start, end = opened
    return b'{"a":' + start * inside + innermost + end * inside + beside + b"}"


@pytest.mark.parametrize("beside", _BESIDE.values(), ids=_BESIDE)
@pytest.mark.parametrize("opened", [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
@pytest.mark.parametrize("innermost", [b"{}", b"[]", b"1"], ids=["empty object", "empty list", "number"])
def test_64_levels_are_taken_and_65_are_not(
    innermost: bytes, opened: tuple[bytes, bytes], beside: bytes
) -> None:
    deepest = nested(64, innermost, opened, beside)
    assert parse(deepest).raw == deepest
    with pytest.raises(NotJson, match="nests deeper than 64"):
        parse(nested(65, innermost, opened, beside))


def test_lone_surrogate_in_python_text_is_refused() -> None:
    with pytest.raises(NotJson, match="surrogate"):
        parse('{"a":"\ud800"}')


def test_byte_order_mark_is_tolerated() -> None:
    assert parse(b'\xef\xbb\xbf{"resourceType":"Basic"}').type == "Basic"


@given(resources)
def test_any_object_without_twin_keys_is_taken(resource: dict[str, Any]) -> None:
    for raw in layouts(resource):
        assert parse(raw).data == resource


def test_document_made_here_has_the_same_hash_as_its_text() -> None:
    made = jsontext.from_data({"resourceType": "Basic", "a": [1, 2.5]})
    assert made.hash == parse(made.raw).hash


@given(resources, resources)
def test_patch_gives_the_values_asked_for(before: dict[str, Any], after: dict[str, Any]) -> None:
    for raw in layouts(before):
        document = parse(raw)
        assert json.loads(jsontext.patched(document, before, after)) == after
        assert jsontext.patched(document, before, before) == raw.strip()


def test_patch_leaves_what_was_not_touched_as_it_stands() -> None:
    raw = (
        b'{"resourceType":"Goal", "target":[{"detailQuantity":{"value":19.00,"unit":"km"},'
        b'"dueDate":"2026-01"}],"note":[]}'
    )
    before = {
        "resourceType": "Goal",
        "target": [{"detailQuantity": {"value": 19.0, "unit": "km"}, "dueDate": "2026-01"}],
    }
    after = {
        "resourceType": "Goal",
        "target": [{"detailQuantity": {"value": 19.0, "unit": "km"}, "dueDate": "2026-02"}],
    }
    patched = jsontext.patched(parse(raw), before, after)
    assert b'{"value":19.00,"unit":"km"}' in patched
    assert b'"dueDate":"2026-02"' in patched
    assert b'"note":[]' in patched


_members = st.dictionaries(
    st.sampled_from(["id", "meta", "text", "status", "name", "é", 'qu"ote', "a b"]),
    st.recursive(
        st.one_of(
            st.text(max_size=5).filter(lambda t: "\0" not in t), st.integers(), st.booleans(), st.none()
        ),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "meta", "x"]), inner)
        ),
        max_leaves=6,
    ),
)


@given(_members, st.integers(0, 7), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_splicing_replaces_id_and_meta_and_nothing_else(
    members: dict[str, Any], place: int, indent: int | str | None, ascii: bool
) -> None:
    items = list(members.items())
    items.insert(min(place, len(items)), ("resourceType", "Basic"))
    document = jsontext.parse(json.dumps(dict(items), indent=indent, ensure_ascii=ascii))
    spliced = jsontext.parse(document.spliced("new", {"versionId": "7"}))
    rest = {key: value for key, value in members.items() if key not in ("id", "meta")}
    head = {"resourceType": "Basic", "id": "new", "meta": {"versionId": "7"}}
    assert list(spliced.data.items()) == [*head.items(), *rest.items()]
    assert spliced.hash == document.hash
    # The text scanned for references comes to the same.
    assert with_references(document.raw.decode(), {"none": "such"}) == document.raw.decode()


def test_numbers_too_long_for_python_are_kept() -> None:
    raw = b'{"a":0.' + b"9" * 6000 + b',"resourceType":"Basic","id":"x"}'
    assert b"0." + b"9" * 6000 in jsontext.parse(raw).spliced("y", None)


def elements(value: Any) -> int:
    """The number of values, each object twice."""
    if isinstance(value, dict):
        return 2 + sum(map(elements, value.values()))
    return 1 + sum(map(elements, value if isinstance(value, list) else ()))


@given(values, st.integers(1, 9), st.booleans())
def test_counting_elements_in_pieces_finds_each_and_takes_no_text_for_one(
    value: Any, size: int, indented: bool
) -> None:
    raw = json.dumps(value, indent=2 if indented else None, ensure_ascii=False).encode()
    count = jsontext.ElementCount()
    for at in range(0, len(raw), size):
        count.add(raw[at : at + size])
    found = elements(value)
    empty = raw.count(b"{}") + raw.count(b"[]")
    assert found <= count.total <= found + empty
    assert jsontext.has_more_elements(raw, count.total) is False
    assert jsontext.has_more_elements(raw, count.total - 1) is (len(raw) > count.total - 1)


@pytest.mark.parametrize(
    "raw", [b"[" + b"{}," * 50 + b"0]", b"[" + b"[]," * 50 + b"0]", b'["' + b'","' * 90 + b'"]']
)
def test_empty_objects_lists_and_texts_are_elements(raw: bytes) -> None:
    assert jsontext.has_more_elements(raw, 49)


@pytest.mark.parametrize("text", [b"a,{[" * 90, b'\\"' * 90, b"\\\\" * 90, b'\\\\\\",' * 90])
def test_commas_and_brackets_in_a_text_are_none(text: bytes) -> None:
    raw = b'{"a":"' + text + b'"}'
    assert not jsontext.has_more_elements(raw, 3)
    assert jsontext.has_more_elements(raw, 2)

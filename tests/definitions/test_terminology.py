"""Value sets worked out from their compose, as sets."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.definitions.terminology import ValueSet, expand

SYSTEM = "https://example.org/cs"
TREE: dict[str, Any] = {
    "url": SYSTEM,
    "content": "complete",
    "concept": [
        {"code": "a", "concept": [{"code": "a1", "concept": [{"code": "a11"}]}, {"code": "a2"}]},
        {"code": "b", "property": [{"code": "kind", "valueCode": "x"}]},
        {"code": "c", "property": [{"code": "subsumedBy", "valueCode": "a2"}]},
    ],
}
ALL = frozenset({"a", "a1", "a11", "a2", "b", "c"})


def worked_out(*include: dict[str, Any], exclude: tuple[dict[str, Any], ...] = ()) -> ValueSet:
    return expand(
        {"compose": {"include": list(include), "exclude": list(exclude)}},
        {"https://example.org/vs": ValueSet({SYSTEM: frozenset({"a1", "b"})})}.get,
        {SYSTEM: TREE}.get,
    )


def rule(**content: Any) -> dict[str, Any]:
    return {"system": SYSTEM, **content}


def where(operator: str, name: str, value: str) -> dict[str, Any]:
    return rule(filter=[{"op": operator, "property": name, "value": value}])


def listed(*codes: str) -> dict[str, Any]:
    return rule(concept=[{"code": code} for code in codes])


def test_a_whole_system() -> None:
    assert worked_out(rule()).codes == {SYSTEM: ALL}


def test_filters() -> None:
    assert worked_out(where("is-a", "concept", "a")).codes[SYSTEM] == {"a", "a1", "a11", "a2", "c"}
    assert worked_out(where("descendent-of", "concept", "a1")).codes[SYSTEM] == {"a11"}
    assert worked_out(where("is-not-a", "concept", "a")).codes[SYSTEM] == {"b"}
    assert worked_out(where("=", "kind", "x")).codes[SYSTEM] == {"b"}
    assert worked_out(where("in", "kind", "x,y")).codes[SYSTEM] == {"b"}
    assert worked_out(where("exists", "kind", "true")).codes[SYSTEM] == {"b"}
    assert worked_out(where("regex", "code", "a[0-9]")).codes[SYSTEM] == {"a1", "a2"}


def test_a_filter_that_cannot_be_decided_leaves_the_system_open() -> None:
    for undecidable in (
        where("=", "colour", "red"),
        where("is-a", "concept", "zz"),
        where("generalizes", "concept", "a"),
    ):
        result = worked_out(undecidable)
        assert result.open_systems == {SYSTEM}
        assert result.allows(SYSTEM, "a") is None
        assert result.allows("https://example.org/other", "a") is False


def test_imports_are_intersected_with_the_system_and_with_each_other() -> None:
    assert worked_out({"valueSet": ["https://example.org/vs|1.0"]}).codes == {SYSTEM: {"a1", "b"}}
    both = rule(valueSet=["https://example.org/vs"], filter=where("is-a", "concept", "a")["filter"])
    assert worked_out(both).codes == {SYSTEM: {"a1"}}


def test_an_import_nobody_has_leaves_everything_possible() -> None:
    result = worked_out({"valueSet": ["https://example.org/none"]}, listed("a"))
    assert not result.known
    assert result.allows(SYSTEM, "a") is True
    assert result.allows(SYSTEM, "zz") is None
    assert result.allows_code("zz") is None


def test_a_system_not_held_is_open() -> None:
    result = worked_out({"system": "http://snomed.info/sct"}, listed("a"))
    assert result.open_systems == {"http://snomed.info/sct"}
    assert not result.enumerable


def test_exclusion() -> None:
    assert worked_out(rule(), exclude=(listed("a", "b"),)).codes[SYSTEM] == ALL - {"a", "b"}
    doubtful = worked_out(rule(), exclude=(where("=", "colour", "red"),))
    assert doubtful.allows(SYSTEM, "a") is None


def test_an_expansion_is_used_only_when_it_is_whole() -> None:
    whole = {"expansion": {"contains": [{"system": SYSTEM, "code": "a", "contains": [{"code": "n"}]}]}}
    assert expand(whole, {}.get, {}.get).codes == {SYSTEM: {"a"}, "": {"n"}}
    part = {"expansion": {"total": 9, "contains": [{"system": SYSTEM, "code": "a"}]}}
    assert not expand(part, {}.get, {}.get).known


codes = st.frozensets(st.sampled_from(sorted(ALL)))


@given(included=codes, excluded=codes, also=codes)
def test_a_compose_is_set_algebra(
    included: frozenset[str], excluded: frozenset[str], also: frozenset[str]
) -> None:
    result = worked_out(listed(*included), listed(*also), exclude=(listed(*excluded),))
    assert result.codes.get(SYSTEM, frozenset()) == (included | also) - excluded
    assert result.enumerable
    for code in ALL:
        assert result.allows(SYSTEM, code) is (code in (included | also) - excluded)
        assert result.allows_code(code) is (code in (included | also) - excluded)

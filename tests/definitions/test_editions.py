"""A code system in several versions, and what a registry makes of versions in several packages."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod import definitions
from fhir_coprod.definitions import Definitions, Editions, Package
from fhir_coprod.definitions.editions import editions, is_newer, joined, newest_first
from fhir_coprod.definitions.terminology import ValueSet, concepts

Json = dict[str, Any]
HL7 = "http://terminology.hl7.org/"
TABLE = f"{HL7}CodeSystem/v2-0203"
STATUS = "http://hl7.org/fhir/task-status"
HIERARCHY = f"{HL7}CodeSystem/v3-ActCode"
HELD = definitions.registry()


def system(url: str, version: str = "", *codes: str, **more: Any) -> Json:
    stated = {"version": version} if version else {}
    listed = [{"code": code} for code in codes]
    return {
        **{"resourceType": "CodeSystem", "id": "x", "url": url, "content": "complete"},
        **{**stated, "concept": listed, **more},
    }


def value_set(url: str, *include: Json, **more: Any) -> Json:
    return {"resourceType": "ValueSet", "id": "x", "url": url, "compose": {"include": include}, **more}


def package(*resources: Json) -> Package:
    files = {f"{r['resourceType']}-{i}.json": json.dumps(r).encode() for i, r in enumerate(resources)}
    return Package("elsewhere", files)


def with_packages(*packages: Package) -> Definitions:
    """What this process holds, and those packages."""
    return Definitions(HELD._pack, (*HELD.packages, *packages), HELD._terminology)


def r4_alone(*packages: Package) -> Definitions:
    return Definitions(HELD._pack, packages)


# ---------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("later", "earlier"),
    [
        ({"version": "10.0.0"}, {"version": "9.1"}),
        ({"version": "2.1"}, {"version": "2"}),
        (
            {"version": "2018-08-12", "date": "2018-08-12"},
            {"version": "2014-03-26", "date": "2014-03-26T00:00"},
        ),
        # Numbering started again when HL7 took its terminology out of FHIR.
        ({"version": "3.0.0", "date": "2019-03-20"}, {"version": "2018-08-12", "date": "2018-08-12"}),
        ({"date": "2024-01-01"}, {"version": "1.0.0", "date": "2023-12-31"}),
    ],
)
def test_a_later_version_is_newer(later: Json, earlier: Json) -> None:
    assert is_newer(later, earlier)
    assert not is_newer(earlier, later)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"version": "2.0"}, {"version": "2"}),
        ({}, {}),
        ({"version": "draft"}, {"version": "1.0.0"}),
        ({"version": 2}, {"version": "2"}),
        ({"date": ["2024"]}, {}),
    ],
)
def test_what_cannot_be_told_apart_is_not_newer(one: Json, other: Json) -> None:
    assert not is_newer(one, other)
    assert not is_newer(other, one)


VERSIONS = st.lists(st.integers(0, 12), min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
CODES = st.frozensets(st.sampled_from("abcdef"))


@given(st.lists(VERSIONS, max_size=6))
def test_the_newest_comes_first_and_equals_stay_in_order(versions: list[str]) -> None:
    copies = [{"version": version, "at": index} for index, version in enumerate(versions)]
    ordered = newest_first(copies)
    assert sorted(copy["at"] for copy in ordered) == list(range(len(copies)))
    for before, after in pairwise(ordered):
        assert is_newer(before, after) or (not is_newer(after, before) and before["at"] < after["at"])


@given(own=CODES, copies=st.lists(st.tuples(VERSIONS, CODES), min_size=1, max_size=4))
def test_r4_loses_nothing_and_of_the_rest_the_newest_counts(
    own: frozenset[str], copies: list[tuple[str, frozenset[str]]]
) -> None:
    r4 = system(TABLE, "own", *sorted(own))
    others = newest_first(system(TABLE, version, *sorted(codes)) for version, codes in copies)
    newest = frozenset(concept["code"] for concept in concepts(others[0]))
    held = editions(r4, others)
    assert held is not None
    assert held.codes == own | newest
    assert held.newest == others[0]["version"]
    whole = joined(r4, others)
    assert whole is not None
    assert sorted(concept["code"] for concept in concepts(whole)) == sorted(own | newest)
    for code in "abcdefg":
        assert held.has(code) is (code in own | newest)
        assert held.has(code, "own") is (code in own)
        assert held.has(code, "never") is held.has(code)


@given(own=CODES, codes=CODES)
def test_a_system_that_does_not_list_all_its_codes_decides_nothing(
    own: frozenset[str], codes: frozenset[str]
) -> None:
    part = system(TABLE, "2", *sorted(codes), content="fragment")
    held = editions(system(TABLE, "1", *sorted(own)), [part])
    assert held is not None
    assert held.codes is None
    assert held.has("a") is None
    assert held.has("a", "2") is None
    assert held.has("a", "1") is ("a" in own)


def test_what_nobody_holds_has_no_editions() -> None:
    assert editions(None, []) is None
    assert joined(None, []) is None
    assert HELD.editions("http://nobody.example") is None
    assert Editions("", None).has("x") is None


# ---------------------------------------------------------------------- what ships


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("v2-0203", "FGN"),
        ("v2-0203", "PGN"),
        ("location-physical-type", "vi"),
        ("v3-ParticipationMode", "SMSWRIT"),
        ("coverage-selfpay", "payconc"),
        ("condition-clinical", "unknown"),
    ],
)
def test_codes_that_are_younger_than_r4_are_known(name: str, code: str) -> None:
    url = f"{HL7}CodeSystem/{name}"
    now, then = HELD.editions(url), r4_alone().editions(url)
    assert now is not None
    assert then is not None
    assert now.has(code)
    assert not then.has(code)
    assert now.has(code, then.newest) is False, "a coding that names R4's version means that one"
    assert now.newest != then.newest


def test_nothing_that_r4_defines_is_lost() -> None:
    grown = 0
    alone = r4_alone()
    for url in (u for u in HELD._pack._code_systems if "|" not in u):
        then, now = alone.editions(url), HELD.editions(url)
        assert then is not None
        if then.codes is not None:
            assert now is not None
            assert now.codes is not None, url
            assert then.codes <= now.codes, url
            grown += len(now.codes - then.codes)
    assert grown > 500


def test_only_terminology_grows() -> None:
    for url in HELD._pack._code_systems:
        if url.startswith("http://hl7.org/fhir/"):
            assert HELD.code_system(url) == r4_alone().code_system(url)


@pytest.mark.parametrize(
    ("url", "system_url", "code"),
    [
        # R4's own value sets
        ("http://hl7.org/fhir/ValueSet/condition-clinical", f"{HL7}CodeSystem/condition-clinical", "unknown"),
        (
            "http://hl7.org/fhir/ValueSet/location-physical-type",
            f"{HL7}CodeSystem/location-physical-type",
            "vi",
        ),
        # HL7's, as they are now
        (f"{HL7}ValueSet/v3-ActEncounterCode", HIERARCHY, "AMB"),
        (f"{HL7}ValueSet/v2-0203", TABLE, "FGN"),
    ],
)
def test_value_sets_grow_with_their_systems(url: str, system_url: str, code: str) -> None:
    held = HELD.value_set(url)
    assert held is not None
    assert held.allows(system_url, code)


def test_no_value_set_of_r4_allows_less_than_it_did() -> None:
    alone = Definitions(HELD._pack)
    for url in list(HELD._pack._value_sets)[::7]:
        then, now = alone._pack.value_set(url), HELD.value_set(url)
        assert then is not None
        assert now is not None
        assert then.open_systems <= now.open_systems, url
        for of, codes in then.codes.items():
            assert codes <= now.codes.get(of, frozenset()), (url, of)


# ---------------------------------------------------------------------- packages


def test_a_newer_package_wins_over_what_ships() -> None:
    here = with_packages(package(system(TABLE, "99.0.0", "ZZZ")))
    held = here.editions(TABLE)
    assert held is not None
    assert held.newest == "99.0.0"
    assert held.has("ZZZ")
    assert held.has("MR")


def test_an_older_package_changes_nothing_but_the_version_it_holds() -> None:
    here = with_packages(package(system(TABLE, "0.0.1", "ZZZ")))
    held = here.editions(TABLE)
    assert held is not None
    assert not held.has("ZZZ")
    assert held.has("ZZZ", "0.0.1")
    assert held.has("MR", "0.0.1") is False


@given(st.permutations(["1.0.0", "1.1.0", "2.0.0"]))
def test_the_order_of_loading_does_not_matter(order: list[str]) -> None:
    url = f"{HL7}CodeSystem/invented"
    here = with_packages(*(package(system(url, version, f"v{version}")) for version in order))
    assert here.code_system(url) == {"v2.0.0"}


def test_nobody_adds_to_the_codes_of_fhir_itself() -> None:
    stolen = value_set("http://hl7.org/fhir/ValueSet/task-status", {"system": STATUS}, version="99.0.0")
    here = with_packages(package(system(STATUS, "99.0.0", "vanished"), stolen))
    assert here.code_system(STATUS) == HELD.code_system(STATUS)
    held = here.value_set("http://hl7.org/fhir/ValueSet/task-status")
    assert held is not None
    assert held.allows(STATUS, "vanished") is False


R4_CLINICAL = ("active", "inactive", "recurrence", "relapse", "remission", "resolved")


def test_a_value_set_of_r4_takes_the_codes_of_a_newer_package() -> None:
    clinical = f"{HL7}CodeSystem/condition-clinical"
    here = with_packages(package(system(clinical, "99.0.0", "simmering")))
    held = here.value_set("http://hl7.org/fhir/ValueSet/condition-clinical")
    assert held is not None
    assert held.codes[clinical] == {*R4_CLINICAL, "simmering"}


def test_a_filter_sees_the_newer_hierarchy() -> None:
    below = {"code": "teletherapy", "property": [{"code": "subsumedBy", "valueCode": "_ActEncounterCode"}]}
    newer = system(HIERARCHY, "99.0.0", concept=[{"code": "_ActEncounterCode"}, below])
    held = with_packages(package(newer)).value_set(f"{HL7}ValueSet/v3-ActEncounterCode")
    assert held is not None
    assert held.codes[HIERARCHY] >= {"teletherapy", "AMB", "IMP"}


def test_a_newer_value_set_wins_and_keeps_what_r4_allows() -> None:
    url = f"{HL7}ValueSet/v3-ConfidentialityClassification"
    of = f"{HL7}CodeSystem/v3-Confidentiality"
    newer = value_set(url, {"system": of, "concept": [{"code": "sealed"}]}, version="99.0.0")
    held = with_packages(package(newer)).value_set(url)
    assert held is not None
    assert held.codes[of] == {"sealed", "L", "M", "N", "R", "U", "V"}


def test_of_two_versions_of_a_guide_the_newer_counts() -> None:
    url, of = "http://guide.example/ValueSet/v", "http://guide.example/CodeSystem/c"
    old = package(system(of, "1", "a"), value_set(url, {"system": of}, version="1"))
    new = package(
        system(of, "2", "b"), value_set(url, {"system": of}, {"system": "u:x", "concept": []}, version="2")
    )
    for order in ((old, new), (new, old)):
        held = with_packages(*order).value_set(url)
        assert held is not None
        assert held.codes == {of: {"b"}, "u:x": frozenset()}
    later = with_packages(old)
    assert later.code_system(of) == {"a"}
    later.add(new)
    assert later.code_system(of) == {"b"}
    assert later.value_set(url) is not None


@pytest.mark.usefixtures("eager_switching")
def test_threads_that_ask_for_a_value_set_at_once_all_get_it() -> None:
    here, together = with_packages(), Barrier(8)

    def ask(_: int) -> ValueSet | None:
        together.wait(60)
        return here.value_set("http://hl7.org/fhir/ValueSet/condition-clinical")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers[0] is not None
    assert all(answer is answers[0] for answer in answers)


def test_a_value_set_that_imports_itself_imports_nothing_more() -> None:
    url, of = "http://guide.example/ValueSet/loop", "http://guide.example/CodeSystem/c"
    loop = value_set(url, {"system": of}, {"valueSet": [url]}, version="1")
    held = with_packages(package(system(of, "1", "a"), loop)).value_set(url)
    assert held is not None
    assert held.codes == {of: {"a"}}

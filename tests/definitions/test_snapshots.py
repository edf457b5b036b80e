"""Snapshots made from differentials, beside those that publishers' tools made of the same differentials."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import definitions
from fhir_coprod.definitions import Package, with_snapshot
from fhir_coprod.errors import UnknownDefinition
from fhir_coprod.validation.validator import Validator
from tests.peers import hl7packages, registry

Json = dict[str, Any]
OF = "https://elsewhere.test/StructureDefinition/"


def decisive(element: Json) -> Json:
    """What decides a validation, in one form for all publishers."""
    stated = ("min", "max", "fixed", "pattern", "minValue", "maxValue")
    said: Json = {key: value for key, value in element.items() if key.startswith(stated)}
    said["types"] = sorted(
        (t["code"], *map(bare, (*t.get("profile", ()), *t.get("targetProfile", ()))))
        for t in element.get("type", ())
    )
    binding = element.get("binding", {})
    said["binding"] = (binding.get("strength"), bare(binding.get("valueSet", "")))
    slicing = element.get("slicing", {})
    said["slicing"] = (slicing.get("rules"), slicing.get("discriminator"))
    said["repeats"] = element.get("contentReference", "").rpartition("#")[2]
    said["rules"] = sorted({rule["key"] for rule in element.get("constraint", ())} - {"ele-1", "ext-1"})
    return said


def bare(canonical: str) -> str:
    return canonical.partition("|")[0]


def by_id(definition: Json) -> dict[str, Json]:
    return {element["id"]: decisive(element) for element in definition["snapshot"]["element"]}


def without(definition: Json, name: str) -> Json:
    return {key: value for key, value in definition.items() if key != name}


def without_snapshot(definition: Json) -> Json:
    return without(definition, "snapshot")


def profile(name: str, base: str, *elements: Json, **members: Any) -> Json:
    type_ = elements[0]["path"].partition(".")[0]
    return {
        "resourceType": "StructureDefinition",
        "url": OF + name,
        "name": name,
        "kind": "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": base if ":" in base else definitions.CORE + base,
        "derivation": "constraint",
        "differential": {"element": list(elements)},
        **members,
    }


def test_our_own_profiles_get_the_snapshots_that_sushi_made() -> None:
    for made_by_sushi in definitions.own_resources("StructureDefinition"):
        made = with_snapshot(without_snapshot(made_by_sushi), definitions.structure)
        assert by_id(made) == by_id(made_by_sushi), made_by_sushi["url"]


def different_from_published(published: hl7packages.Published) -> list[str]:
    """The elements of a package's profiles that we make otherwise than HL7's publisher did."""
    registry.require(published.peer)
    package = Package.open(published.file)
    held = {s["url"]: s for s in map(package.read, package.of_type("StructureDefinition"))}

    def find(url: str) -> Json:
        return held.get(bare(url)) or definitions.structure(url)

    found = []
    for theirs in held.values():
        if theirs["derivation"] == "constraint":
            ours, wanted = by_id(with_snapshot(without_snapshot(theirs), find)), by_id(theirs)
            found += [f"{theirs['id']} {one}" for one in wanted if ours.get(one) != wanted[one]]
            found += [f"{theirs['id']} {one}" for one in ours.keys() - wanted.keys()]
    return sorted(found)


@pytest.mark.parametrize("published", hl7packages.ALL, ids=lambda one: str(one.name))
def test_hl7s_profiles_get_the_snapshots_that_hl7s_publisher_made(published: hl7packages.Published) -> None:
    """But for the elements of the table beside this file, each with its reason."""
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["differing"]
    known = [one for group in table if group["package"] == published.name for one in group["elements"]]
    assert different_from_published(published) == sorted(known)


def test_an_extension_that_is_not_held_is_told_by_its_canonical() -> None:
    about = [{"code": "Extension", "profile": [OF + "about"]}]
    said = profile(
        "said",
        "Patient",
        {"path": "Patient.extension", "sliceName": "about", "type": about},
        {"path": "Patient.extension.value[x]", "type": [{"code": "string"}]},
    )
    found = by_id(with_snapshot(said, definitions.structure))
    assert found["Patient.extension:about.url"]["fixedUri"] == OF + "about"


def test_profiles_that_are_derived_from_each_other_without_end_are_refused() -> None:
    chain = {
        OF + str(at): profile(str(at), OF + str(at + 1), {"path": "Patient.name", "min": 1})
        for at in range(1000)
    }

    def find(url: str) -> Json:
        return with_snapshot(chain[url], find) if url in chain else definitions.structure(url)

    with pytest.raises(UnknownDefinition, match="More than 50 profiles"):
        find(OF + "0")


def test_a_profile_with_only_a_differential_is_checked() -> None:
    owned = profile("owned", "Task", {"path": "Task.owner", "min": 1})
    task = {"resourceType": "Task", "status": "draft", "intent": "order", "meta": {"profile": [OF + "owned"]}}
    outcome = Validator([owned]).check(task)
    assert [issue.expression for issue in outcome.errors] == ["Task"]
    assert "`owner` is missing" in outcome.errors[0].message
    assert Validator([owned]).check({**task, "owner": {"display": "Dr Berg"}})


def test_what_calls_itself_a_specialization_of_its_own_type_is_a_profile() -> None:
    """As HL7's own test cases have one: R4 asks for another type, so that nothing else can be meant."""
    owned = profile("owned", "Task", {"path": "Task.owner", "min": 1}, derivation="specialization")
    task = {"resourceType": "Task", "status": "draft", "intent": "order", "meta": {"profile": [OF + "owned"]}}
    assert [issue.expression for issue in Validator([owned]).check(task).errors] == ["Task"]


def test_ids_may_be_missing_or_made_up() -> None:
    sliced = profile(
        "sliced",
        "Patient",
        {
            "id": "1",
            "path": "Patient.identifier",
            "slicing": {"discriminator": [{"type": "value", "path": "system"}], "rules": "closed"},
        },
        {"id": "2", "path": "Patient.identifier", "sliceName": "ssn", "min": 1, "max": "1"},
        {"id": "3", "path": "Patient.identifier.system", "fixedUri": "urn:ssn"},
    )
    found = by_id(with_snapshot(sliced, definitions.structure))
    assert found["Patient.identifier:ssn"]["min"] == 1
    assert found["Patient.identifier:ssn.system"]["fixedUri"] == "urn:ssn"
    assert "fixedUri" not in found.get("Patient.identifier.system", {})


def test_a_choice_named_by_its_type_is_a_slice_of_it() -> None:
    measured = profile(
        "measured", "Observation", {"path": "Observation.valueQuantity.code", "min": 1, "patternCode": "kg"}
    )
    found = by_id(with_snapshot(measured, definitions.structure))
    assert found["Observation.value[x]:valueQuantity"]["types"] == [("Quantity",)]
    assert found["Observation.value[x]:valueQuantity.code"]["patternCode"] == "kg"
    assert found["Observation.value[x]"]["slicing"][0] == "open"


def test_what_an_element_repeats_is_unfolded_where_the_profile_goes_into_it() -> None:
    nested = profile("nested", "Questionnaire", {"path": "Questionnaire.item.item.prefix", "min": 1})
    found = by_id(with_snapshot(nested, definitions.structure))
    assert found["Questionnaire.item.item.prefix"]["min"] == 1
    assert found["Questionnaire.item.prefix"]["min"] == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (profile("a", "Patient", {"path": "Patient.shoes", "min": 1}), "no element Patient.shoes"),
        (profile("a", "Task", {"path": "Patient.name"}), "its base is for Task and not for Patient"),
        (profile("a", OF + "a", {"path": "Patient.name"}), "derived from itself"),
        (profile("a", OF + "nowhere", {"path": "Patient.name"}), f"No StructureDefinition {OF}nowhere"),
        (
            profile("a", "Patient", {"path": "Pet"}, derivation="specialization"),
            "a type of its own",
        ),
        (without(profile("a", "Patient", {"path": "Patient"}), "differential"), "no differential either"),
        (profile("a", "Patient", {"path": "Patient"}, differential={"element": [{}]}), "KeyError: 'path'"),
    ],
)
def test_what_has_no_snapshot_and_can_get_none_says_why(wrong: Json, said: str) -> None:
    def find(url: str) -> Json:
        return with_snapshot(wrong, find) if url == wrong["url"] else definitions.structure(url)

    with pytest.raises(UnknownDefinition, match="none can be made") as raised:
        find(wrong["url"])
    assert said in raised.value.message
    outcome = Validator([wrong]).check({"resourceType": "Patient", "meta": {"profile": [wrong["url"]]}})
    assert any(said in issue.message for issue in outcome if issue.code == "not-found")

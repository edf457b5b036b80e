"""What the R4 pack says is what HL7's 4.0.1 says, and it says it fast."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fhir_coprod import definitions
from fhir_coprod.definitions import CORE, UnknownDefinition, pack


def element(type_: str, path: str) -> dict[str, object]:
    return next(e for e in definitions.structure(type_)["snapshot"]["element"] if e["id"] == path)


def test_all_resource_types_of_r4_and_no_later_one() -> None:
    types = definitions.resource_types()
    named = definitions.code_system("http://hl7.org/fhir/resource-types")
    assert named is not None
    assert set(types) == named - {"Resource", "DomainResource"}
    assert list(types) == sorted(types)
    assert not definitions.is_resource_type("SubscriptionStatus")
    assert not definitions.is_resource_type("DomainResource")
    assert not definitions.is_resource_type("HumanName")
    assert not definitions.is_resource_type(["Patient"])


@pytest.mark.parametrize("name", [*definitions.resource_types(), *definitions.registry().data_types])
def test_every_type_has_a_snapshot(name: str) -> None:
    structure = definitions.structure(name)
    assert structure["type"] == name
    assert structure["snapshot"]["element"][0]["path"] == name


def test_name_url_and_version_lead_to_the_same_structure() -> None:
    assert definitions.structure("Task") is definitions.structure(CORE + "Task|4.0.1")
    assert definitions.has_structure("Task")
    assert definitions.has_structure(CORE + "goal-acceptance")
    assert definitions.has_structure(CORE + "patient-interpreterRequired")


def test_unknown_definition_says_what_to_do() -> None:
    with pytest.raises(UnknownDefinition, match="load its package"):
        definitions.structure("https://example.org/StructureDefinition/none")
    assert not definitions.has_structure("https://example.org/StructureDefinition/none")


def test_detected_issue_is_bound_as_in_r4() -> None:
    binding = element("DetectedIssue", "DetectedIssue.status")["binding"]
    assert binding == {
        "strength": "required",
        "valueSet": "http://hl7.org/fhir/ValueSet/observation-status|4.0.1",
    }
    assert "status" not in definitions.search_parameters("DetectedIssue")
    assert not definitions.has_structure(CORE + "DetectedIssueStatus")


def test_meta_has_no_foreign_elements() -> None:
    names = {e["path"] for e in definitions.structure("Meta")["snapshot"]["element"]}
    assert names == {
        f"Meta{member}"
        for member in (
            "",
            ".id",
            ".extension",
            ".versionId",
            ".lastUpdated",
            ".source",
            ".profile",
            ".security",
            ".tag",
        )
    }


def test_required_value_sets_are_all_known() -> None:
    """Every required binding of a resource or datatype can be decided offline, or takes codes by grammar."""
    by_grammar = {"urn:ietf:bcp:13", "urn:ietf:bcp:47", "http://unitsofmeasure.org"}
    undecided = {
        (binding["valueSet"], tuple(sorted(content.open_systems)) if content else None)
        for name in (*definitions.resource_types(), *definitions.registry().data_types)
        for e in definitions.structure(name)["snapshot"]["element"]
        if (binding := e.get("binding", {})).get("strength") == "required"
        and not (
            (content := definitions.value_set_content(binding["valueSet"]))
            and (content.enumerable or content.open_systems <= by_grammar)
        )
    }
    # A LOINC answer list, which HL7 itself does not publish with R4.
    assert undecided == {("http://loinc.org/vs/LL379-9|4.0.1", None)}


@pytest.mark.parametrize(
    ("url", "system", "inside", "outside"),
    [
        ("administrative-gender", "http://hl7.org/fhir/administrative-gender", "female", "f"),
        ("task-status", "http://hl7.org/fhir/task-status", "ready", "open"),
        ("currencies", "urn:iso:std:iso:4217", "SEK", "SKR"),
        ("iso3166-1-3", "urn:iso:std:iso:3166", "SWE", "SE"),
        # by an is-a filter on a nested v3 code system
        ("v3-ActEncounterCode", "http://terminology.hl7.org/CodeSystem/v3-ActCode", "AMB", "OPD"),
        # by is-not-a on a v2 table
        ("patient-contactrelationship", "http://terminology.hl7.org/CodeSystem/v2-0131", "N", "O"),
    ],
)
def test_value_set_holds_its_codes(url: str, system: str, inside: str, outside: str) -> None:
    base = "http://terminology.hl7.org/ValueSet/" if url.startswith("v3") else "http://hl7.org/fhir/ValueSet/"
    codes = definitions.value_set(base + url + "|4.0.1")
    assert codes is not None
    assert inside in codes[system]
    assert outside not in codes[system]


def test_value_set_of_a_system_not_held_is_no_list() -> None:
    url = "http://hl7.org/fhir/ValueSet/condition-code"
    assert definitions.value_set(url) is None
    content = definitions.value_set_content(url)
    assert content is not None
    assert content.allows("http://snomed.info/sct", "73211009") is None
    assert content.allows("http://loinc.org", "1234-5") is False


def test_unknown_value_set_and_code_system_are_none() -> None:
    assert definitions.value_set("https://example.org/ValueSet/none") is None
    assert definitions.value_set_content("https://example.org/ValueSet/none") is None
    assert definitions.code_system("https://example.org/CodeSystem/none") is None
    assert definitions.code_system("http://snomed.info/sct") is None


def test_search_parameters_speak_of_one_type() -> None:
    condition = definitions.search_parameters("Condition")
    assert condition["patient"].expression == "Condition.subject.where(resolve() is Patient)"
    assert condition["patient"].target == ("Patient", "Group")
    assert condition["_lastUpdated"].expression == "Resource.meta.lastUpdated"
    quantity = definitions.search_parameters("Observation")["code-value-quantity"]
    assert [part.expression for part in quantity.components] == ["code", "value.as(Quantity)"]
    assert definitions.search_parameters("Nothing") == {}


def test_no_search_parameter_speaks_of_another_type() -> None:
    types = set(definitions.resource_types())
    for name in types:
        for parameter in definitions.search_parameters(name).values():
            heads = {
                branch.lstrip("( ").partition(".")[0].partition(" ")[0]
                for branch in parameter.expression.split("|")
                if "." in branch
            }
            assert not heads & (types - {name}), parameter


def test_own_search_parameters_stand_beside_those_of_r4() -> None:
    about = definitions.search_parameters("Communication")["about"]
    assert about.type == "reference"
    assert about.expression == "Communication.about"
    assert about.url == f"{definitions.CANONICAL}/SearchParameter/communication-about"


def test_patient_compartment() -> None:
    compartment = definitions.compartment("Patient")
    assert compartment["ServiceRequest"] == ("subject", "performer")
    assert "Organization" not in compartment
    assert definitions.compartment("None") == {}


def test_first_use_of_a_type_takes_under_150_ms() -> None:
    script = (
        "import time; import fhir_coprod.definitions as d; t = time.perf_counter();"
        "d.structure('ExplanationOfBenefit'); d.value_set('http://hl7.org/fhir/ValueSet/task-status');"
        "d.search_parameters('Task'); print(time.perf_counter() - t)"
    )
    fastest = min(
        float(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout)
        for _ in range(3)
    )
    assert fastest < 0.150


def test_looking_up_again_costs_nothing() -> None:
    definitions.structure("Patient")
    begin = time.perf_counter()
    for _ in range(10_000):
        definitions.structure("Patient")
    assert time.perf_counter() - begin < 1


def test_forked_processes_read_the_pack_without_disturbing_each_other() -> None:
    own = pack.Pack(Path(pack.__file__).parent.parent / "_data" / "r4.zip")
    ids = sorted(own.index)

    def reads_all(urls: list[str]) -> int:
        """In a process of its own, which begins with what this one has opened."""
        if process := os.fork():
            return process
        failed = 1
        try:
            failed = int(not all(own.structure(url) for url in urls))
        finally:
            os._exit(failed)

    forks = [reads_all(ids[:200]), reads_all(ids[-200:])]
    assert [os.waitpid(fork, 0)[1] for fork in forks] == [0, 0]

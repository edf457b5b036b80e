"""A package of somebody else's, as a user would bring it: the International Patient Summary of HL7."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.definitions.package import Package
from tests import programs
from tests.peers import ips, registry

Json = dict[str, Any]


@pytest.fixture(scope="module")
def examples() -> dict[str, Json]:
    """The package's own examples by `Type/id`."""
    registry.require(ips.PEER)
    package = Package.open(ips.FILE)
    found = [package.read(entry) for entry in package.examples() if entry.file.startswith("example/")]
    return {f"{resource['resourceType']}/{resource['id']}": resource for resource in found}


def outcomes(path: Path, resources: list[Json], *arguments: str) -> list[Json]:
    """What `fhir-coprod validate` says of each, with the package."""
    path.write_bytes(b"\n".join(jsontext.encode(resource) for resource in resources))
    command = ("validate", str(path), "--package", str(ips.FILE), "--format", "json")
    done = programs.run("fhir_coprod", *command, *arguments)
    assert done.returncode in (0, 1), done.stderr
    found: list[Json] = json.loads(done.stdout)
    return found


def errors(outcome: Json) -> list[str]:
    return [
        f"{issue['expression'][0]}: {issue['diagnostics']}"
        for issue in outcome["issue"]
        if issue["severity"] in ("fatal", "error")
    ]


def test_its_own_examples_are_valid(examples: dict[str, Json], tmp_path: Path) -> None:
    """Each against the profiles that it claims, which are all known."""
    claimed = {p for example in examples.values() for p in example["meta"]["profile"]}
    assert len(examples) == 44
    assert len([url for url in claimed if url.startswith(ips.CANONICAL)]) >= 25
    told = outcomes(tmp_path / "examples.ndjson", list(examples.values()))
    assert {name: errors(o) for name, o in zip(examples, told, strict=True) if errors(o)} == {}
    unknown = [i["diagnostics"] for o in told for i in o["issue"] if i["code"] == "not-found"]
    assert [text for text in unknown if ips.CANONICAL in text] == []


def test_its_documents_satisfy_the_profile_that_is_asked_for(
    examples: dict[str, Json], tmp_path: Path
) -> None:
    bundles = [copy.deepcopy(e) for e in examples.values() if e["resourceType"] == "Bundle"]
    for bundle in bundles:
        del bundle["meta"]
    told = outcomes(tmp_path / "bundles.ndjson", bundles, "--profile", f"{ips.CANONICAL}Bundle-uv-ips")
    assert len(bundles) == 5
    assert [errors(outcome) for outcome in told] == [[]] * 5


def _patient_without_name(patient: Json) -> None:
    del patient["name"]


def _patient_without_birth_date(patient: Json) -> None:
    del patient["birthDate"]


def _document_about_nobody(bundle: Json) -> None:
    bundle["entry"] = [e for e in bundle["entry"] if e["resource"]["resourceType"] != "Patient"]


def _document_without_identifier(bundle: Json) -> None:
    del bundle["identifier"]


def _summary_without_allergies(composition: Json) -> None:
    composition["section"] = [
        s for s in composition["section"] if s["code"]["coding"][0]["code"] != "48765-2"
    ]


def _problem_that_is_a_patient(composition: Json) -> None:
    problems = next(s for s in composition["section"] if s["code"]["coding"][0]["code"] == "11450-4")
    problems["entry"] = [{"reference": "Patient/1"}]


def _section_without_text(composition: Json) -> None:
    del composition["section"][0]["text"]


def _smoking_of_another_code(observation: Json) -> None:
    observation["code"]["coding"][0]["code"] = "72166-1"


def _medication_never_given(statement: Json) -> None:
    statement.pop("effectivePeriod", None)
    statement.pop("effectiveDateTime", None)
    statement.pop("_effectiveDateTime", None)


BROKEN: tuple[tuple[str, Callable[[Json], None], str], ...] = (
    ("Patient/eumfh-39-07", _patient_without_name, "Patient"),
    ("Patient/eumfh-39-07", _patient_without_birth_date, "Patient"),
    ("Bundle/bundle-minimal", _document_about_nobody, "Bundle"),
    ("Bundle/bundle-minimal", _document_without_identifier, "Bundle"),
    ("Composition/composition-minimal", _summary_without_allergies, "Composition"),
    ("Composition/composition-minimal", _problem_that_is_a_patient, "Composition.section[0].entry[0]"),
    ("Composition/composition-minimal", _section_without_text, "Composition.section[0]"),
    ("Observation/tobacco-use-example", _smoking_of_another_code, "Observation.code"),
    ("MedicationStatement/eumfh-39-07-1", _medication_never_given, "MedicationStatement"),
)
"""(example, what is done to it, where the error is told)"""


def test_broken_ones_are_told_at_their_place(examples: dict[str, Json], tmp_path: Path) -> None:
    resources = []
    for name, breaks, _ in BROKEN:
        resources.append(copy.deepcopy(examples[name]))
        breaks(resources[-1])
    told = outcomes(tmp_path / "broken.ndjson", resources)
    places = [[text.partition(": ")[0] for text in errors(outcome)] for outcome in told]
    for (name, breaks, place), found in zip(BROKEN, places, strict=True):
        assert place in found, f"{name} {breaks.__name__}: {found}"

"""Packages: ours, and somebody else's loaded at run time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import definitions
from fhir_coprod.definitions import Definitions, Package
from fhir_coprod.errors import ConfigError, UnknownDefinition

BASE = "https://example.org/fhir"
PROFILE = {
    "resourceType": "StructureDefinition",
    "id": "tall-patient",
    "url": f"{BASE}/StructureDefinition/tall-patient",
    "type": "Patient",
    "kind": "resource",
    "snapshot": {"element": [{"id": "Patient", "path": "Patient"}]},
}
UNBUILT = {**PROFILE, "id": "unbuilt", "url": f"{BASE}/StructureDefinition/unbuilt", "snapshot": None}
CODES = {
    "resourceType": "CodeSystem",
    "id": "heights",
    "url": f"{BASE}/CodeSystem/heights",
    "content": "complete",
    "concept": [{"code": "tall"}, {"code": "taller"}],
}
CHOICE = {
    "resourceType": "ValueSet",
    "id": "heights",
    "url": f"{BASE}/ValueSet/heights",
    "compose": {
        "include": [
            {"system": CODES["url"]},
            {"valueSet": ["http://hl7.org/fhir/ValueSet/administrative-gender"]},
        ]
    },
}
SEARCH = {
    "resourceType": "SearchParameter",
    "id": "patient-height",
    "url": f"{BASE}/SearchParameter/patient-height",
    "code": "height",
    "base": ["Patient", "Person"],
    "type": "token",
    "expression": "Patient.extension.value | Person.extension.value",
}
STOLEN = {**PROFILE, "id": "Patient", "url": "http://hl7.org/fhir/StructureDefinition/Patient"}
EXAMPLE = {"resourceType": "Patient", "id": "ann"}


def tgz(path: Path, files: dict[str, Any]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path


@pytest.fixture
def package(tmp_path: Path) -> Package:
    files = {"package/package.json": {"name": "example.heights", "version": "1.0.0"}}
    for resource in (PROFILE, UNBUILT, CODES, CHOICE, SEARCH, STOLEN):
        files[f"package/{resource['resourceType']}-{resource['id']}.json"] = resource  # type: ignore[assignment]
    files["package/example/Patient-ann.json"] = EXAMPLE
    files["package/other/notes.txt"] = {}
    return Package.open(tgz(tmp_path / "heights.tgz", files))


@pytest.fixture
def with_package(package: Package) -> Definitions:
    ours = definitions.registry()
    return Definitions(ours._pack, (*ours.packages, package))


def test_everything_in_it_is_found(with_package: Definitions) -> None:
    assert with_package.structure(PROFILE["url"] + "|1.0.0")["id"] == "tall-patient"  # type: ignore[operator]
    assert with_package.code_system(CODES["url"]) == {"tall", "taller"}  # type: ignore[arg-type]
    held = with_package.value_set(f"{BASE}/ValueSet/heights")
    assert held is not None
    assert held.codes[f"{BASE}/CodeSystem/heights"] == {"tall", "taller"}
    assert "female" in held.codes["http://hl7.org/fhir/administrative-gender"]
    assert with_package.search_parameters("Patient")["height"].expression == "Patient.extension.value"
    assert with_package.has_structure(PROFILE["url"])


def test_nobody_redefines_r4(with_package: Definitions) -> None:
    assert len(with_package.structure("Patient")["snapshot"]["element"]) > 1


def test_a_profile_without_snapshot_is_refused_with_a_reason(with_package: Definitions) -> None:
    with pytest.raises(UnknownDefinition, match="snapshot"):
        with_package.structure(f"{BASE}/StructureDefinition/unbuilt")


def test_examples_are_not_definitions(package: Package) -> None:
    assert [entry.id for entry in package.examples()] == ["ann"]
    assert "ann" not in {entry.id for entry in package.of_type()}


def test_adding_a_package_later_makes_it_known(package: Package) -> None:
    ours = definitions.registry()
    here = Definitions(ours._pack, ours.packages)
    assert here.value_set(f"{BASE}/ValueSet/heights") is None
    before = here.generation
    here.add(package)
    assert here.generation == before + 1
    assert here.value_set(f"{BASE}/ValueSet/heights") is not None


def test_load_package_adds_to_this_process(tmp_path: Path) -> None:
    url = f"{BASE}/StructureDefinition/loaded"
    path = tgz(tmp_path / "p.tgz", {"package/StructureDefinition-loaded.json": {**PROFILE, "url": url}})
    before = definitions.generation()
    definitions.load_package(path)
    assert definitions.has_structure(url)
    assert definitions.generation() == before + 1


@pytest.mark.parametrize(
    "content",
    [b"", b"not a package", b"\x1f\x8b\x08\x00broken"],
    ids=["empty", "text", "half a gzip"],
)
def test_a_file_that_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tgz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as a FHIR package"):
        definitions.load_package(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        definitions.load_package(tmp_path / "none.tgz")


def test_a_package_without_resources_is_refused(tmp_path: Path) -> None:
    path = tgz(tmp_path / "empty.tgz", {"readme.md": {}})
    with pytest.raises(ConfigError, match="no FHIR resources under package/"):
        definitions.load_package(path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.md").write_text("x")
    with pytest.raises(ConfigError, match="folder holds no FHIR resources; give"):
        definitions.load_package(tmp_path / "folder")


def test_a_package_with_broken_json_is_refused(tmp_path: Path) -> None:
    path = tgz(tmp_path / "bad.tgz", {"package/StructureDefinition-x.json": b"{"})
    with pytest.raises(ConfigError, match="not valid JSON"):
        definitions.load_package(path)


def test_our_index_and_our_files_agree() -> None:
    (own,) = definitions.registry().packages[:1]
    for entry in own.entries:
        resource = own.read(entry)
        assert (resource["resourceType"], resource["id"]) == (entry.type, entry.id)
        assert entry.url == (resource.get("url", "") if not entry.is_example else "")
    assert len({entry.url for entry in own.of_type()}) == len(list(own.of_type()))


def test_our_canonicals_follow_one_rule() -> None:
    for resource in definitions.own_resources():
        assert resource["url"] == f"{definitions.CANONICAL}/{resource['resourceType']}/{resource['id']}"
        assert resource["status"] == "active"

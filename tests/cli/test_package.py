"""`fhir-coprod package`: what it writes is a FHIR package, for others as for us."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import definitions
from fhir_coprod.definitions import PROFILE, Package
from fhir_coprod.definitions.archive import archive
from tests import programs
from tests.peers import hl7, registry, servers


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return programs.run("fhir_coprod", "package", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("package") / "ours.tgz"
    done = run(str(file))
    assert done.returncode == 0, done.stderr
    assert "fhir-coprod.ig" in done.stdout
    return file


def members(file: Path) -> dict[str, Any]:
    with tarfile.open(file) as packed:
        return {member.name: json.loads(packed.extractfile(member).read()) for member in packed}


def test_it_holds_what_the_specification_asks_for(written: Path) -> None:
    files = members(written)
    manifest = files["package/package.json"]
    assert {"name", "version", "description", "author", "canonical", "dependencies"} <= manifest.keys()
    assert manifest["dependencies"]["hl7.fhir.r4.core"] == "4.0.1"
    guide = files[f"package/ImplementationGuide-{manifest['name']}.json"]
    assert guide["url"] == f"{manifest['canonical']}/ImplementationGuide/{manifest['name']}"
    assert (guide["packageId"], guide["version"]) == (manifest["name"], manifest["version"])
    for folder in ("package", "package/example"):
        index = files[f"{folder}/.index.json"]
        assert index["index-version"] == 2
        below = {name for name in files if name.rpartition("/")[0] == folder and "-" in name}
        assert {f"{folder}/{row['filename']}" for row in index["files"]} == below
        for row in index["files"]:
            resource = files[f"{folder}/{row['filename']}"]
            named = ("resourceType", "id", "url", "version", "kind", "type", "supplements", "content")
            assert {key: resource[key] for key in named if isinstance(resource.get(key), str)} == {
                key: value for key, value in row.items() if key != "filename"
            }
    structures = [r for r in files.values() if r.get("resourceType") == "StructureDefinition"]
    assert structures
    assert all(structure["snapshot"]["element"] for structure in structures)
    listed = {row["reference"]["reference"] for row in guide["definition"]["resource"]}
    there = {f"{r['resourceType']}/{r['id']}" for r in files.values() if "resourceType" in r}
    assert listed == there - {f"ImplementationGuide/{guide['id']}"}


def test_the_same_version_gives_the_same_bytes(written: Path) -> None:
    assert archive(definitions.own_package()) == written.read_bytes()
    with tarfile.open(written) as packed:
        told = packed.getmembers()
    assert [member.name for member in told] == sorted(member.name for member in told)
    assert {(member.mtime, member.uid, member.uname, member.mode) for member in told} == {(0, 0, "", 0o644)}
    assert written.read_bytes()[4:8] == bytes(4), "gzip's own time"


def test_we_read_our_own_package(written: Path) -> None:
    again = Package.open(written)
    assert {entry.url for entry in again.of_type()} == {r["url"] for r in definitions.own_resources()}
    assert len(list(again.examples())) == len(definitions.examples())


def test_as_json_it_tells_what_was_written(tmp_path: Path) -> None:
    done = run("--json", "ours.tgz", cwd=tmp_path)
    told = json.loads(done.stdout)
    raw = (tmp_path / "ours.tgz").read_bytes()
    assert (told["bytes"], told["sha256"]) == (len(raw), sha256(raw).hexdigest())
    assert (told["name"], told["fhirVersions"]) == ("fhir-coprod.ig", ["4.0.1"])
    assert told["examples"] == len(definitions.examples())


def test_it_overwrites_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "there.tgz").write_text("mine")
    for out, said in (
        ("there.tgz", "exists already"),
        (".", "is a folder; name a file in it"),
        ("absent/ours.tgz", "cannot be written"),
        ("there.tgz/ours.tgz", "cannot be written"),
    ):
        done = run(out, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "there.tgz").read_text() == "mine"
    assert os.listdir(tmp_path) == ["there.tgz"]


def test_npm_s_package_loader_loads_it(written: Path) -> None:
    registry.require(servers.LOADER)
    wanted = {r["url"]: r for r in definitions.own_resources()}
    done = subprocess.run(
        [*servers.package_loader_command(), str(written), "fhir-coprod.ig", "0.1.0"],
        input="\n".join(wanted),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["status"] == "LOADED"
    assert told["manifest"]["name"] == "fhir-coprod.ig"
    assert told["stats"]["resourceCount"] == len(wanted)
    for url, resource in wanted.items():
        elements = len(resource.get("snapshot", {}).get("element", ()))
        named = {key: resource[key] for key in ("id", "url")}
        assert told["resources"][url] == {"type": resource["resourceType"], "elements": elements, **named}


@pytest.mark.proof
def test_hapi_and_hl7_s_validator_load_it_and_judge_by_it(written: Path) -> None:
    """HAPI's loader, which reads packages by HL7's own class, and HL7's validator behind it."""
    registry.require(hl7.PEER)
    profiles = [r["url"] for r in definitions.own_resources("StructureDefinition")]
    goal = next(e for e in definitions.examples() if e["resourceType"] == "Goal")
    nobody = {key: value for key, value in goal.items() if key != "expressedBy"}
    assert goal["meta"]["profile"] == [PROFILE + "coproduction-goal"]
    done = subprocess.run(
        [*servers.hapi_package_command(written), *profiles, "https://example.org/absent"],
        input="\n".join(json.dumps(each) for each in (goal, nobody)),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    *known, absent, right, wrong = done.stdout.split()
    assert known == ["true"] * len(profiles)
    assert absent == "false"
    assert right == "0"
    assert int(wrong) >= 1

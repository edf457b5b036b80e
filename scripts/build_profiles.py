"""Compile profiles/ (FHIR Shorthand) with SUSHI into fhir_coprod/_data/package/.

    python scripts/build_profiles.py            compile and write
    python scripts/build_profiles.py --check    fail when the committed package differs from what FSH says

SUSHI runs offline, with its own home in .cache/ that holds FHIR R4 as its only package. The result is a FHIR
package: conformance resources at the top, examples under example/, and .index.json, with which the runtime
finds each resource without reading it. Of a snapshot we keep what a reader or a validator needs; R4 itself
has the comments, requirements and mappings to other standards.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compiled
from node_tools import CACHE, ROOT, node_modules
from r4_source import R4, VERSION

from fhir_coprod.definitions.package import CONFORMANCE

Json = dict[str, Any]

SOURCE = ROOT / "profiles"
PACKAGE = ROOT / "fhir_coprod" / "_data" / "package"
CORE = "hl7.fhir.r4.core#4.0.1"
# SUSHI adds these by itself and would ask a registry for them; nothing here uses them.
STUBS = {"hl7.fhir.uv.tools.r4": "1.1.2", "hl7.terminology.r4": "7.2.0", "hl7.fhir.uv.extensions.r4": "5.3.0"}
INDEXED = ("url", "version", "kind", "type", "supplements", "content")
# We mean both: to write no guide, and not to ask a registry for a newer SUSHI.
IDLE_WARNINGS = ("The FSHOnly property is set to true", "Unable to determine the latest version of sushi")
AUTHOR = "The fhir-coprod founders"
IDLE_IN_SNAPSHOT = ("comment", "requirements", "alias", "mapping", "example")


def main() -> None:
    options = argparse.ArgumentParser(description="Compile the profiles.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    files = package_files(compile_fsh())
    if check:
        compiled.compare(PACKAGE, files, "profiles/", "make profiles")
        return
    compiled.write(PACKAGE, files)
    size = sum(len(content.encode()) for content in files.values())
    print(f"{PACKAGE.relative_to(ROOT)}: {len(files)} files, {size / 1e6:.1f} MB")


def compile_fsh() -> list[Json]:
    """What SUSHI makes of profiles/. Ends the program when it reports an error or an unknown warning."""
    environment = os.environ | {"HOME": str(fhir_home()), "npm_config_offline": "true"}
    sushi = node_modules() / "fsh-sushi" / "dist" / "app.js"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="sushi-") as folder:
        project = Path(folder)
        shutil.copytree(SOURCE / "input" / "fsh", project / "input" / "fsh")
        config = (SOURCE / "sushi-config.yaml").read_text(encoding="utf-8")
        stubs = "".join(f"  {name}: {version}\n" for name, version in STUBS.items())
        (project / "sushi-config.yaml").write_text(f"{config}dependencies:\n{stubs}", encoding="utf-8")
        done = subprocess.run(
            ["node", str(sushi), "build", folder, "-s"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        problems = [line for line in done.stdout.splitlines() if line.startswith(("error", "warn"))]
        if done.returncode or any(not any(idle in line for idle in IDLE_WARNINGS) for line in problems):
            sys.exit(done.stdout + done.stderr)
        return [
            json.loads(file.read_text(encoding="utf-8"))
            for file in sorted((project / "fsh-generated" / "resources").glob("*.json"))
        ]


def fhir_home() -> Path:
    """A home folder whose package cache holds FHIR R4 and three empty packages."""
    home = CACHE / "fhir-home"
    packages = home / ".fhir" / "packages"
    stamp = home / "r4-source"
    if not stamp.exists() or stamp.read_text() != VERSION:
        shutil.rmtree(home, ignore_errors=True)
        folder = packages / CORE / "package"
        folder.mkdir(parents=True)
        for resource in core_resources():
            file = folder / f"{resource['resourceType']}-{resource['id']}.json"
            file.write_text(json.dumps(resource), encoding="utf-8")
        name, version = CORE.split("#")
        write_package_json(folder, name, version)
        for name, version in STUBS.items():
            write_package_json(packages / f"{name}#{version}" / "package", name, version)
        stamp.write_text(VERSION)
    return home


def core_resources() -> Iterator[Json]:
    source = R4()
    for bundle in R4.BUNDLES:
        for resource in source.resources(bundle):
            # HL7's package names the data elements' types; SUSHI has no use for its capability statements.
            if resource["resourceType"] in CONFORMANCE - {"CapabilityStatement", "OperationDefinition"}:
                yield resource


def write_package_json(folder: Path, name: str, version: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": name, "version": version, "fhirVersions": ["4.0.1"], "type": "Core"}
    (folder / "package.json").write_text(json.dumps(content), encoding="utf-8")


def package_files(resources: list[Json]) -> dict[str, str]:
    """Name within the package → text."""
    files: dict[str, str] = {}
    resources = [*resources, implementation_guide(resources)]
    indexes: dict[str, list[Json]] = {"": [], "example/": []}
    for resource in resources:
        folder = "" if resource["resourceType"] in CONFORMANCE else "example/"
        name = f"{resource['resourceType']}-{resource['id']}.json"
        files[folder + name] = text_of(trimmed(resource))
        row = {"filename": name, "resourceType": resource["resourceType"], "id": resource["id"]}
        row |= {key: resource[key] for key in INDEXED if isinstance(resource.get(key), str)}
        indexes[folder].append(row)
    for folder, rows in indexes.items():
        files[f"{folder}.index.json"] = text_of({"index-version": 2, "files": rows})
    files["package.json"] = text_of(package_json())
    return files


def config() -> dict[str, str]:
    """What sushi-config.yaml says on one line, or folded over several (>-)."""
    said: dict[str, str] = {}
    folded = ""
    for line in (SOURCE / "sushi-config.yaml").read_text(encoding="utf-8").splitlines():
        key, colon, value = line.partition(": ")
        if folded and line.startswith("  "):
            said[folded] = f"{said[folded]} {line.strip()}".strip()
        elif colon and not line.startswith((" ", "#")):
            folded = key if value == ">-" else ""
            said[key] = "" if folded else value
    return said


def package_json() -> Json:
    """The manifest, as https://hl7.org/fhir/packages.html wants it."""
    said = config()
    return {
        "name": said["id"],
        "version": said["version"],
        "type": "IG",
        "canonical": said["canonical"],
        "title": said["title"],
        "description": said["description"],
        "author": AUTHOR,
        "license": said["license"],
        "fhirVersions": [said["fhirVersion"]],
        "dependencies": {"hl7.fhir.r4.core": said["fhirVersion"]},
    }


def implementation_guide(resources: list[Json]) -> Json:
    """The ImplementationGuide that lists them; SUSHI writes none of a project that is FSH only."""
    said = config()
    return {
        "resourceType": "ImplementationGuide",
        "id": said["id"],
        "url": f"{said['canonical']}/ImplementationGuide/{said['id']}",
        "version": said["version"],
        "name": said["name"],
        "title": said["title"],
        "status": said["status"],
        "experimental": False,
        "publisher": AUTHOR,
        "description": said["description"],
        "packageId": said["id"],
        "license": said["license"],
        "fhirVersion": [said["fhirVersion"]],
        "definition": {"resource": [listed(resource) for resource in resources]},
    }


def listed(resource: Json) -> Json:
    """A resource in the guide's list: a definition, or an example of the profile that it claims."""
    row: Json = {"reference": {"reference": f"{resource['resourceType']}/{resource['id']}"}}
    if resource["resourceType"] in CONFORMANCE:
        return row | {"name": resource.get("title") or resource["name"], "exampleBoolean": False}
    claimed = resource.get("meta", {}).get("profile", ())
    return row | ({"exampleCanonical": claimed[0]} if claimed else {"exampleBoolean": True})


def trimmed(resource: Json) -> Json:
    if "snapshot" not in resource:
        return resource
    elements = [
        {key: value for key, value in element.items() if key not in IDLE_IN_SNAPSHOT}
        for element in resource["snapshot"]["element"]
    ]
    kept = {key: value for key, value in resource.items() if key != "mapping"}
    return kept | {"snapshot": {"element": elements}}


def text_of(value: Json) -> str:
    """JSON with a line for each member and each element: short, and easy to read as a diff."""
    lines = []
    for key, member in value.items():
        if isinstance(member, dict) and list(member) == ["element"]:
            member_text = '{"element": ' + rows_of(member["element"]) + "}"
        elif isinstance(member, list) and any(isinstance(item, dict) for item in member):
            member_text = rows_of(member)
        else:
            member_text = json.dumps(member, ensure_ascii=False)
        lines.append(f"{json.dumps(key)}: {member_text}")
    return "{" + ",\n".join(lines) + "}\n"


def rows_of(items: list[Any]) -> str:
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"


if __name__ == "__main__":
    main()

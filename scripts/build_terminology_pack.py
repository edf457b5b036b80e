"""Build fhir_coprod/_data/terminology.zip: HL7's code systems and value sets, later than those of R4.

    python scripts/build_terminology_pack.py            write the pack
    python scripts/build_terminology_pack.py --check    fail when the committed pack differs from this

The source is HL7's package hl7.terminology.r4 (CC0), whose version scripts/npm/packages.json pins. The pack
leaves out what does not decide whether a code belongs (words, designations, narrative) and the package's few
code systems of other publishers. Entries of the pack:

    code-systems.json   canonical → version, and content and concepts unless R4's copy has the same codes
    value-sets.json     canonical → version and compose
"""

from __future__ import annotations

from typing import Any

from build_r4_pack import GROWING, PACK, compact_compose, encode, write_or_check
from node_tools import fhir_package

from fhir_coprod.definitions.pack import Pack
from fhir_coprod.definitions.package import Package

TERMINOLOGY = PACK.with_name("terminology.zip")
_MEANT = frozenset({"parent", "child", "subsumedBy", "notSelectable"})
"""Properties of concepts that place them. The others are words and history; no value set chooses by them."""
Json = dict[str, Any]


def build(package: Package, r4: Pack) -> dict[str, bytes]:
    """Every entry of the pack by name."""
    return {
        "code-systems.json": encode(
            {s["url"]: compact_code_system(s, r4) for s in resources(package, "CodeSystem")}
        ),
        "value-sets.json": encode({v["url"]: compact_value_set(v) for v in resources(package, "ValueSet")}),
    }


def resources(package: Package, resource_type: str) -> list[Json]:
    """HL7's own resources of a type, by canonical."""
    found = [package.read(entry) for entry in package.of_type(resource_type)]
    return sorted((r for r in found if r["url"].startswith(GROWING)), key=lambda r: str(r["url"]))


def compact_code_system(code_system: Json, r4: Pack) -> Json:
    kept = {"version": code_system["version"]}
    whole = {
        "content": code_system["content"],
        "concept": [bare_concept(concept) for concept in code_system.get("concept", ())],
    }
    older = r4.code_system(code_system["url"])
    if older is not None and older["content"] == whole["content"] and places(older) == places(whole):
        return kept
    return kept | whole


def bare_concept(concept: Json) -> Json:
    """A concept without its words."""
    kept: Json = {"code": concept["code"]}
    meant = [p for p in concept.get("property", ()) if p["code"] in _MEANT]
    if meant:
        kept["property"] = meant
    if "concept" in concept:
        kept["concept"] = [bare_concept(below) for below in concept["concept"]]
    return kept


def places(code_system: Json) -> dict[str, str]:
    """Code → the code above it, by nesting or by property."""
    found: dict[str, str] = {}
    waiting = [("", concept) for concept in code_system["concept"]]
    while waiting:
        above, concept = waiting.pop()
        stated = [
            str(p.get("valueCode"))
            for p in concept.get("property", ())
            if p["code"] in ("parent", "subsumedBy")
        ]
        found[concept["code"]] = " ".join(sorted({*stated, *([above] if above else [])}))
        waiting += [(concept["code"], below) for below in concept.get("concept", ())]
    return found


def compact_value_set(value_set: Json) -> Json:
    return {"version": value_set["version"], "compose": compact_compose(value_set.get("compose", {}))}


def main() -> None:
    write_or_check(
        "Build the terminology pack.",
        TERMINOLOGY,
        lambda: build(Package.open(fhir_package("hl7.terminology.r4")), Pack(PACK)),
    )


if __name__ == "__main__":
    main()

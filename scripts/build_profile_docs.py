"""Write the generated part of docs/profiles.md from the compiled package, so that the page cannot drift.

python scripts/build_profile_docs.py            write
python scripts/build_profile_docs.py --check    fail when the page differs
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from node_tools import ROOT

from fhir_coprod import definitions, profiles

Json = dict[str, Any]

PAGE = ROOT / "docs" / "profiles.md"
INVALID = ROOT / "profiles" / "input" / "invalid"
MARK = "<!-- From here on this page is written by scripts/build_profile_docs.py; do not edit. -->\n"

WITHOUT_CLASS = {"coproduction-measurereport": "a program computes it, nobody builds one"}

ORDER = (
    ("The plan", ("coproduction-careplan", "coproduction-goal", "plan-task", "patient-task")),
    (
        "The conversation",
        ("coproduction-communication", "written-information", "decision-option", "teach-back"),
    ),
    ("The referral", ("coproduction-servicerequest", "referral-task", "coproduction-appointment")),
    ("The watch", ("stalled-referral", "stall-followup", "do-not-contact")),
    (
        "The person",
        (
            "coproduction-patient",
            "patient-concern",
            "patient-problem-list",
            "everyday-life",
            "readiness",
            "barrier",
            "life-story",
            "family-member",
            "private-moment-task",
        ),
    ),
    ("The people around", ("network-person", "coproduction-careteam", "coproduction-episode")),
    ("How it went", ("respect-and-trust-response", "coproduction-measurereport")),
)


def main() -> None:
    options = argparse.ArgumentParser(description="Write the generated part of docs/profiles.md.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    head = page.partition(MARK)[0]
    wanted = head + MARK + "\n" + "\n".join(body()) + "\n"
    if check and wanted != page:
        sys.exit("docs/profiles.md is not what the package says; run: python scripts/build_profile_docs.py")
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")


def body() -> Iterator[str]:
    structures = {s["id"]: s for s in definitions.own_resources("StructureDefinition")}
    profiles = {id for id, s in structures.items() if s["type"] != "Extension"}
    placed = {id for _, ids in ORDER for id in ids}
    if profiles != placed:
        sys.exit(f"give these profiles a place in ORDER: {sorted(profiles ^ placed)}")
    yield from summary(structures)
    for title, ids in ORDER:
        yield f"\n## {title}"
        for id in ids:
            yield from section(structures[id])
    yield "\n## Extensions\n"
    for structure in structures.values():
        if structure["type"] == "Extension":
            yield from extension(structure)
    yield "\n## Codes\n"
    for system in definitions.own_resources("CodeSystem"):
        yield from codes(system)
    yield "\n## Search parameters of ours\n"
    yield "| type | parameter | finds |\n|---|---|---|"
    for parameter in definitions.own_resources("SearchParameter"):
        yield f"| {parameter['base'][0]} | `{parameter['code']}` | {parameter['description']} |"


def summary(structures: dict[str, Json]) -> Iterator[str]:
    yield "| profile | on | for |\n|---|---|---|"
    for _, ids in ORDER:
        for id in ids:
            structure = structures[id]
            first = structure["description"].partition(". ")[0].rstrip(".")
            yield f"| [`{id}`](#{id}) | {structure['type']} | {first} |"


def section(structure: Json) -> Iterator[str]:
    id = structure["id"]
    yield f'\n### <a id="{id}"></a>{structure["title"]}\n'
    yield f"`{id}`, a {structure['type']}; {in_python(id)}. {structure['description']}\n"
    status, _, source = structure["purpose"].removeprefix("Status: ").partition(" Source: ")
    yield f"**Who sets the status.** {status}\n"
    yield f"**Source.** {source}\n"
    yield "| element | | means | codes |\n|---|---|---|---|"
    for element in kept_elements(structure):
        yield row(structure, element)
    rules = [c for c in constraints(structure) if c["key"].startswith("coprod-")]
    if rules:
        yield "\nRules:\n"
        for rule in rules:
            yield f"- `{rule['key']}` ({rule['severity']}): {rule['human']}"
    yield f"\nValid: {', '.join(examples(structure['url']))}. {refused(id)}"


def in_python(id: str) -> str:
    """The class of a profile, or why it has none."""
    if id in WITHOUT_CLASS:
        return f"no class in Python: {WITHOUT_CLASS[id]}"
    named = (getattr(profiles, name) for name in profiles.__all__)
    return next(f"in Python `{found.__name__}`" for found in named if getattr(found, "profile_id", "") == id)


def kept_elements(structure: Json) -> Iterator[Json]:
    """Elements that must be filled, or should be if known; not those inside a datatype."""
    for element in structure["snapshot"]["element"][1:]:
        path = element["path"].split(".")
        if element["max"] == "0" or (path[-1] in ("id", "extension") and "sliceName" not in element):
            continue
        if (element["min"] > 0 and len(path) == 2) or element.get("mustSupport"):
            yield element


def row(structure: Json, element: Json) -> str:
    name = element["id"].removeprefix(structure["type"] + ".")
    bold = f"**{name}**" if element["min"] else name
    short = meaning(element).replace("|", "\\|").replace("\n", " ")
    return f"| {bold} | {element['min']}..{element['max']} | {short} | {binding(element)} |"


def meaning(element: Json) -> str:
    """The element's short text; for an extension, the extension's."""
    if element["path"].endswith(".extension") and "sliceName" in element:
        profile = element["type"][0]["profile"][0]
        defined = definitions.structure(profile)
        return str(defined.get("title") or defined["snapshot"]["element"][0]["short"])
    return str(element.get("short", ""))


def binding(element: Json) -> str:
    for key, value in element.items():
        if key.startswith(("pattern", "fixed")):
            coding = value["coding"][0] if isinstance(value, dict) and "coding" in value else None
            return f"`{coding['code'] if coding else json.dumps(value)}`"
    bound = element.get("binding", {})
    if "valueSet" not in bound:
        return ""
    return f"{bound['valueSet'].rpartition('/')[2].partition('|')[0]} ({bound['strength']})"


def constraints(structure: Json) -> list[Json]:
    return [c for e in structure["snapshot"]["element"] for c in e.get("constraint", ())]


def examples(url: str) -> list[str]:
    return sorted(
        f"`{example['resourceType']}/{example['id']}`"
        for example in definitions.examples()
        if url in example.get("meta", {}).get("profile", ())
    )


def refused(profile: str) -> str:
    cases = json.loads((INVALID / f"{profile}.json").read_text(encoding="utf-8"))
    return "Refused: " + ", ".join(f"`{name}`" for name in cases) + "."


def extension(structure: Json) -> Iterator[str]:
    where = ", ".join(context["expression"] for context in structure["context"])
    yield f"\n### `{structure['id']}`\n"
    yield f"On {where}. {structure['description']}\n"
    parts = [
        e
        for e in structure["snapshot"]["element"]
        if e["id"].startswith("Extension.extension:") and e["id"].count(".") == 1
    ]
    if parts:
        yield "| part | | means |\n|---|---|---|"
        for part in parts:
            short = part["short"].replace("|", "\\|")
            yield f"| {part['sliceName']} | {part['min']}..{part['max']} | {short} |"


def codes(system: Json) -> Iterator[str]:
    yield f"\n### `{system['id']}`\n"
    yield f"{system['description']}\n"
    yield "| code | means |\n|---|---|"
    for concept in system["concept"]:
        yield f"| `{concept['code']}` | {concept['definition']} |"


if __name__ == "__main__":
    main()

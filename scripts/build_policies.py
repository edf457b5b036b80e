"""Check policies/ (TOML) and copy them unchanged into fhir_coprod/_data/policies/.

    python scripts/build_policies.py            check and write
    python scripts/build_policies.py --check    fail when what is committed differs from policies/

Each policy is read as the watch reads it (rules, stages, spans, days, calendars, unknown keys). In addition,
codes are looked up: those with a system that we hold, and those without a system, which are our own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import compiled
from node_tools import ROOT

from fhir_coprod import definitions
from fhir_coprod.definitions.terminology import concepts
from fhir_coprod.errors import ConfigError
from fhir_coprod.watch.rules import policies

SOURCE = ROOT / "policies"
TARGET = ROOT / "fhir_coprod" / "_data" / "policies"


def main() -> None:
    options = argparse.ArgumentParser(description="Check the policies, and carry them into the package.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    found = list(mistakes(SOURCE))
    if found:
        sys.exit("\n".join(found))
    files = {file.name: file.read_text(encoding="utf-8") for file in sorted(SOURCE.iterdir())}
    if check:
        compiled.compare(TARGET, files, "policies/", "make policies")
        return
    compiled.write(TARGET, files)
    print(f"{TARGET.relative_to(ROOT)}: {', '.join(files)}")


def mistakes(source: Path) -> Iterator[str]:
    """What is wrong with the policies of a folder."""
    own = {
        concept["code"] for system in definitions.own_resources("CodeSystem") for concept in concepts(system)
    }
    for file in sorted(source.iterdir()):
        if file.suffix != ".toml":
            yield f"{file.name}: only TOML files belong here; rename or remove it."
            continue
        try:
            policy = policies.load(file.stem, folder=source)
        except ConfigError as error:
            yield f"{file.name}: {error.message}"
            continue
        if policy.name != file.stem:
            yield f"{file.name}: name is {policy.name!r}; it is found by its file, so give both one name."
        for code in sorted(codes(policy)):
            system, _, bare = code.rpartition("|")
            held = definitions.code_system(system) if system else own
            if held is not None and bare not in held:
                where = f"the code system {system}" if system else "no code system of profiles/"
                yield f"{file.name}: {code!r}: {'not in ' if system else 'in '}{where}; correct it."


def codes(policy: policies.Policy) -> frozenset[str]:
    """All codes that it judges by: `system|code`, or a code of ours."""
    told = policy.awaiting_information | policy.no_result_expected | policy.pause_reasons
    told = told.union(*(row.codes for row in policy.scopes))
    return told.union(*(guarantee.specialties for guarantee in policy.guarantees))


if __name__ == "__main__":
    main()

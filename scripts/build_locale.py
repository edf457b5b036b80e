"""Compile locale/ (gettext catalogues) into fhir_coprod/_data/locale/, one JSON file for each language.

    python scripts/build_locale.py            check, compile and write
    python scripts/build_locale.py --check    fail when what is committed differs from locale/

Every language must have the same entries, all translated, none marked as fuzzy, and the same placeholders.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import compiled
from babel.messages.catalog import Catalog
from babel.messages.pofile import PoFileError, read_po
from node_tools import ROOT

SOURCE = ROOT / "locale"
TARGET = ROOT / "fhir_coprod" / "_data" / "locale"


def main() -> None:
    options = argparse.ArgumentParser(description="Compile the catalogues.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    found: list[str] = []
    words = catalogues(SOURCE, found)
    found += differences(words)
    if found:
        sys.exit("\n".join(found))
    files = {
        f"{language}.json": json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        for language, told in words.items()
    }
    if check:
        compiled.compare(TARGET, files, "locale/", "make locale")
        return
    compiled.write(TARGET, files)
    print(f"{TARGET.relative_to(ROOT)}: {', '.join(files)}")


def catalogues(source: Path, mistakes: list[str]) -> dict[str, dict[str, str]]:
    """Language → entry → words. Faults inside a single file are added to `mistakes`."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(source.iterdir()):
        if file.suffix != ".po":
            mistakes.append(f"{file.name}: only LANGUAGE.po files belong here; rename or remove it.")
            continue
        try:
            with file.open("rb") as content:
                catalogue = read_po(content, abort_invalid=True)
        except (PoFileError, UnicodeDecodeError) as error:
            mistakes.append(f"{file.name}: cannot be read: {error}.")
            continue
        if str(catalogue.locale) != file.stem:
            mistakes.append(f"{file.name}: its header says Language: {catalogue.locale}; write {file.stem}.")
        mistakes += in_doubt(file.name, catalogue)
        found[file.stem] = {str(entry.id): str(entry.string) for entry in catalogue if entry.id}
    return found


def in_doubt(file: str, catalogue: Catalog) -> Iterator[str]:
    for entry in catalogue:
        if entry.id and (entry.fuzzy or not entry.string):
            state = "marked fuzzy" if entry.fuzzy else "not translated"
            yield f"{file}:{entry.lineno}: {entry.id!r} is {state}; a patient would read it, so finish it."


def differences(words: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Entries that a language lacks, and placeholders that differ from English."""
    everywhere = {entry for told in words.values() for entry in told}
    for language, told in words.items():
        for entry in sorted(everywhere):
            if entry not in told:
                yield f"{language}.po: {entry!r} is missing; another language has it."
            elif placeholders(told[entry]) != placeholders(words["en"].get(entry, told[entry])):
                wanted = (
                    ", ".join(sorted(f"{{{name}}}" for name in placeholders(words["en"][entry]))) or "none"
                )
                yield f"{language}.po: {entry!r}: its placeholders differ from English, which has {wanted}."


def placeholders(text: str) -> frozenset[str]:
    """The names in { }; a lone brace counts as a name that no language has."""
    try:
        return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)
    except ValueError:
        return frozenset(("a brace too many",))


if __name__ == "__main__":
    main()

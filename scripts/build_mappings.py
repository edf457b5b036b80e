"""Compile mappings/ (TOML) into fhir_coprod/_data/mappings/, one JSON file for each kind.

    python scripts/build_mappings.py            check, compile and write
    python scripts/build_mappings.py --check    fail when what is committed differs from what mappings/ says

Every name and code is checked against R4. Each mistake is reported with its file and line, and if there is
one, nothing is written. A kind is a folder of files (`ehr/epic.toml` → "epic" in ehr.json) or one file
(`merge.toml` → merge.json); KINDS names the function that reads it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import compiled
import msgspec
from node_tools import ROOT

from fhir_coprod.mappings import Mistakes
from fhir_coprod.sync.ehr import vendor
from fhir_coprod.sync.merging import merge
from fhir_coprod.sync.staging import numbers
from fhir_coprod.watch.record import words

SOURCE = ROOT / "mappings"
TARGET = ROOT / "fhir_coprod" / "_data" / "mappings"

KINDS: dict[str, Callable[[bytes, str], Any]] = {
    "ehr": vendor.read,
    "identifiers": numbers.read,
    "merge": merge.read,
    "words": words.read,
}
"""Folder, or name of a single file → the function that reads such a file and finds its mistakes."""


def main() -> None:
    options = argparse.ArgumentParser(description="Compile the mappings.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    mistakes: list[str] = []
    files = {f"{kind}.json": text_of(content) for kind, content in kinds(SOURCE, mistakes)}
    if mistakes:
        sys.exit("\n".join(mistakes))
    if check:
        compiled.compare(TARGET, files, "mappings/", "make mappings")
        return
    compiled.write(TARGET, files)
    print(f"{TARGET.relative_to(ROOT)}: {', '.join(sorted(files))}")


def kinds(source: Path, mistakes: list[str]) -> Iterator[tuple[str, Any]]:
    """Kind and content. Mistakes are added to `mistakes`."""
    for path in sorted(source.iterdir()):
        if path.name == "README.md":
            continue
        kind = path.name if path.is_dir() else path.name.removesuffix(".toml")
        if kind not in KINDS:
            known = ", ".join(KINDS)
            mistakes.append(f"{shown(path)}: nothing reads this kind; known are {known}. Add it to KINDS.")
        elif path.is_dir():
            contents = {file.stem: read(kind, file, mistakes) for file in sorted(path.iterdir())}
            mistakes += claimed_twice(path, contents)
            yield kind, contents
        else:
            yield kind, read(kind, path, mistakes)


def read(kind: str, file: Path, mistakes: list[str]) -> Any:
    """The content of one file; None, and further mistakes, when it cannot be used."""
    if file.suffix != ".toml":
        mistakes.append(f"{shown(file)}: only TOML files belong here; rename or remove it.")
        return None
    try:
        return KINDS[kind](file.read_bytes(), shown(file))
    except Mistakes as found:
        mistakes += found.all
        return None


def claimed_twice(folder: Path, contents: dict[str, Any]) -> Iterator[str]:
    """If two files claim the same server or code system, nobody could say which one is used."""
    claims: dict[str, str] = {}
    for name, content in contents.items():
        for software in getattr(content, "software", ()):
            other = claims.setdefault(software, name)
            if other != name:
                file = shown(folder / f"{name}.toml")
                yield f"{file}: software: {other}.toml claims {software!r}, too; keep one."
    guides = {name: content for name, content in contents.items() if isinstance(content, words.Guide)}
    for name, system in words.claimed(guides):
        yield f"{shown(folder / f'{name}.toml')}: systems.{system}: another file claims it, too; keep one."


def shown(file: Path) -> str:
    """A path relative to the repository, if the file is in it."""
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)


def text_of(content: Any) -> str:
    """JSON in a fixed order, with a line for each member, so that a diff shows what changed."""
    return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=1).decode() + "\n"


if __name__ == "__main__":
    main()

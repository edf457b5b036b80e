"""Writes folders of compiled data, or compares them with what their sources say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Change only what differs, each file in one step: anyone reading meanwhile finds a complete folder."""
    for name, content in files.items():
        file = folder / name
        if file.exists() and file.read_text(encoding="utf-8") == content:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(file)
    for file in list(folder.rglob("*")):
        if file.is_file() and file.relative_to(folder).as_posix() not in files:
            file.unlink()


def compare(folder: Path, files: Mapping[str, str], source: str, command: str) -> None:
    """End the program with the names of the files that differ from what `source` says."""
    committed = {
        file.relative_to(folder).as_posix(): file.read_text(encoding="utf-8")
        for file in folder.rglob("*")
        if file.is_file()
    }
    names = sorted(committed.keys() | files.keys())
    differing = [name for name in names if committed.get(name) != files.get(name)]
    if differing:
        shown = "\n  ".join(differing[:20])
        sys.exit(f"What is compiled is not what {source} says. Run `{command}` and commit:\n  {shown}")

"""Reads resources from files, one at a time: single resources, Bundles, NDJSON, folders, standard input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from fhir_coprod import jsontext
from fhir_coprod.errors import ConfigError, NotJson, readable

SUFFIXES = (".json", ".ndjson", ".jsonl")
"""The files of a folder that are read."""
_LINES = (".ndjson", ".jsonl")
_NO_RESOURCE = frozenset({"package.json", ".index.json"})
"""JSON files of a FHIR package that are not resources."""
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """One resource as it was read.

    file: its name, or `stdin`
    line: its line in an NDJSON file; None when the file holds one resource
    """

    file: str
    raw: bytes
    line: int | None = None

    @property
    def place(self) -> str:
        """Its place in words for a person: `plans.ndjson:12`."""
        file = readable(self.file)
        return file if self.line is None else f"{file}:{self.line}"


def files(paths: Sequence[str]) -> list[str]:
    """The files behind paths: for a folder, the files in it by name. Raises ConfigError."""
    found: list[str] = []
    for name in paths:
        path = Path(name)
        if name == STDIN or path.is_file():
            found.append(name)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.name not in _NO_RESOURCE)
            resources = [str(p) for p in inside if p.is_file()]
            if not resources:
                endings = ", ".join(SUFFIXES)
                raise ConfigError(f"{name}: the folder holds no file ending with {endings}; name another.")
            found += resources
        else:
            raise ConfigError(f"{readable(name)}: there is no such file or folder; correct the path.")
    return found


def size(names: Sequence[str]) -> int:
    """Bytes of all files together; standard input counts as 0."""
    return sum(Path(name).stat().st_size for name in names if name != STDIN)


def sources(names: Sequence[str], stdin: BinaryIO) -> Iterator[Input]:
    """Every resource of the files, in order; NDJSON is read line by line. Raises ConfigError."""
    for name in names:
        if name == STDIN:
            yield from _read(stdin, "stdin", lines=False)
            continue
        try:
            with Path(name).open("rb") as stream:
                yield from _read(stream, name, lines=name.endswith(_LINES))
        except OSError as error:
            raise ConfigError(
                f"{readable(name)}: cannot be read ({error.strerror}); check its rights."
            ) from None


def _read(stream: BinaryIO, name: str, *, lines: bool) -> Iterator[Input]:
    """Read NDJSON if the name says so, or if the first line is a JSON object and more lines follow."""
    numbered = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
    number, first = next(numbered, (1, b""))
    if not lines and not _is_object(first):
        yield Input(name, first + b"".join(line for _, line in numbered))
        return
    following = next(numbered, None)
    if following is None:
        if first:
            yield Input(name, first, number if lines else None)
        return
    yield Input(name, first, number)
    for number, line in chain([following], numbered):
        yield Input(name, line, number)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(jsontext.decode(line), dict)
    except NotJson:
        return False

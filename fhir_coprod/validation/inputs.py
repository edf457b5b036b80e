"""Resources out of files: single ones, Bundles, NDJSON, folders of them, standard input; one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from fhir_coprod import jsontext
from fhir_coprod.errors import ConfigError, NotJson, readable

SUFFIXES = (".json", ".ndjson", ".jsonl")
"""Files of a folder that are read."""
_LINES = (".ndjson", ".jsonl")
_NO_RESOURCE = frozenset({"package.json", ".index.json"})
"""Files of a FHIR package that are JSON but no resource."""
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One resource as it came.

    file: its name, or `stdin`
    line: of NDJSON the line that it is; None where a file holds one resource
    """

    file: str
    raw: bytes
    line: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, for a person: `plans.ndjson:12`."""
        file = readable(self.file)
        return file if self.line is None else f"{file}:{self.line}"


def files(paths: Sequence[str]) -> list[str]:
    """The files behind paths: a folder stands for what is in it, in order of names. Raises ConfigError."""
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
    """Bytes in all of the files; standard input counts as nothing."""
    return sum(Path(name).stat().st_size for name in names if name != STDIN)


def sources(names: Sequence[str], stdin: BinaryIO) -> Iterator[Source]:
    """Every resource of the files, in order; of NDJSON one line at a time. Raises ConfigError."""
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


def _read(stream: BinaryIO, name: str, *, lines: bool) -> Iterator[Source]:
    """NDJSON when it is called so, or when its first line is a JSON object and more follow."""
    numbered = ((number, line) for number, line in enumerate(stream, 1) if line.strip())
    number, first = next(numbered, (1, b""))
    if not lines and not _is_object(first):
        yield Source(name, first + b"".join(line for _, line in numbered))
        return
    following = next(numbered, None)
    if following is None:
        if first:
            yield Source(name, first, number if lines else None)
        return
    yield Source(name, first, number)
    for number, line in chain([following], numbered):
        yield Source(name, line, number)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(jsontext.decode(line), dict)
    except NotJson:
        return False

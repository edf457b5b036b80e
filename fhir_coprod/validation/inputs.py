"""The resources to validate, one at a time: single resources, Bundles, NDJSON, folders, standard input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from fhir_coprod.errors import readable
from fhir_coprod.files.finding import STDIN, Found
from fhir_coprod.files.reading import LIMITS, Limits, texts
from fhir_coprod.outcome import Issue


class Input(NamedTuple):
    """One resource as it was read, or what stood in its place.

    file:  its name, or `stdin`
    line:  its line in an NDJSON file; None when the file holds one resource
    wrong: why there is nothing to check; None if there is
    taken: bytes of the file, as it is stored, that were read for it
    """

    file: str
    raw: bytes
    line: int | None = None
    wrong: Issue | None = None
    taken: int = 0

    @property
    def place(self) -> str:
        """Its place in words for a person: `plans.ndjson:12`."""
        file = readable(self.file)
        return file if self.line is None else f"{file}:{self.line}"


def sources(found: Sequence[Found], stdin: BinaryIO, limits: Limits = LIMITS) -> Iterator[Input]:
    """Every resource of the files, in order; NDJSON is read line by line."""
    for one in found:
        if one.same_as:
            continue
        name = one.name if one.path == STDIN else one.path
        read = 0
        for text in texts(one, stdin, limits):
            yield Input(name, text.raw, text.line, text.wrong, max(0, text.read - read))
            read = max(read, text.read)

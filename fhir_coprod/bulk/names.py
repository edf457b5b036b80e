"""What the exported resources refer to and is exported after them: in memory, and for a process that goes on
with the export in files of its folder."""

from __future__ import annotations

from pathlib import Path

from fhir_coprod.bulk.folder import Files
from fhir_coprod.bulk.wanted import File

CHANGED, UNCHANGED = "c", "u"
"""Export it if it has changed since the time that was asked for, or if it has not; "": in any case."""
_ALWAYS = "a"


class Names:
    """entries: type, id and when to export it, in the order in which they were noted; one that was noted as
    CHANGED first and is wanted in any case later has a second entry for UNCHANGED."""

    def __init__(self, folder: Path, files: list[File]) -> None:
        self.entries: list[tuple[str, str, str]] = []
        self._noted: dict[tuple[str, str], str] = {}
        self._unwritten: list[bytes] = []
        for file in files:
            if file.kind == "names":
                with (folder / file.name).open("rb") as stream:
                    for line in stream.read(file.bytes).decode().splitlines():
                        when, type, id = line.split("/")
                        self._keep(type, id, "" if when == _ALWAYS else when)

    def note(self, type: str, id: str, when: str) -> None:
        """Note one, once."""
        noted = self._noted.get((type, id))
        if noted is not None and not (noted == CHANGED and when == ""):
            return
        own = UNCHANGED if noted == CHANGED else when
        self._keep(type, id, own)
        self._unwritten.append(f"{own or _ALWAYS}/{type}/{id}\n".encode())

    def _keep(self, type: str, id: str, when: str) -> None:
        self.entries.append((type, id, when))
        self._noted[type, id] = when

    def write(self, files: Files) -> None:
        """Write down those that are new. Raises Unwritable."""
        files.add("names", "", self._unwritten)
        self._unwritten = []

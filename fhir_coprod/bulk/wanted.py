"""What one export is to hold, and how far it is: as it is kept in the database."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["", "Patient", "Group"]
"""Of everything, of all patients, of the members of a group."""
Kind = Literal["output", "deleted", "error", "names"]
"""What a file holds: resources, Bundles of deletions, OperationOutcomes; or, for us alone, what has been
referred to."""


class Wanted(msgspec.Struct, frozen=True):
    """One export as it was asked for.

    group:    id of the Group
    types:    all types that may be in it
    since, until: microseconds since 1970; None without a limit
    filters:  type → searches, of which a resource has to match one
    elements: as `_elements` has it; "" for all
    patients: ids of the only patients; None for all of them
    base:     our address as the caller knows it
    request:  the URL that asked for it
    told:     what could not be done, as sentences
    """

    level: Level
    types: tuple[str, ...]
    base: str
    request: str
    group: str = ""
    since: int | None = None
    until: int | None = None
    filters: dict[str, tuple[str, ...]] = {}
    elements: str = ""
    patients: tuple[str, ...] | None = None
    told: tuple[str, ...] = ()


class File(msgspec.Struct):
    """One file: bytes and count are how much of it counts; what follows was written by a process that has
    ended, or has lost its lease."""

    kind: Kind
    type: str
    name: str
    bytes: int = 0
    count: int = 0


class Job(msgspec.Struct):
    """How far an export is.

    head:   the position of the log whose state is exported; -1 before it is begun
    time:   the time of that position, milliseconds since 1970
    after:  where the next portion begins; -1: all is read but what has been referred to
    names:  how many of these are done
    failed: why it could not be done
    """

    wanted: Wanted
    head: int = -1
    time: int = 0
    after: int = 0
    names: int = 0
    files: list[File] = []
    failed: str = ""

    @property
    def progress(self) -> str:
        """In a few words, for people."""
        if self.head < 0:
            return "waiting"
        if self.after < 0:
            return "what is referred to is being read"
        if self.wanted.level == "" and self.wanted.since is not None:
            return "changes are being read"
        return f"{min(99, 100 * self.after // max(self.head, 1))} % read"


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Job).decode

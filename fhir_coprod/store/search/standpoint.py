"""Where a criterion of a search applies, how much the search asks for, and how its values are split."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_coprod.errors import BadRequest
from fhir_coprod.store import index
from fhir_coprod.store.search.sight import Sight

MAX_DEPTH = 8
"""How many links a chain may have; each is a join."""
MAX_ALTERNATIVES = 500
"""How many values one parameter may have, separated by commas."""
MAX_TESTS = 4_000
"""How many values a whole search may have, each counted for every type it is looked for in."""
MAX_LINKS = 2_000
"""How many ways the chains of a search may take; each type that a reference may lead to is a way."""


@dataclass(slots=True)
class _Effort:
    """How much one search has asked for so far.

    bare:  types that a reference may lead to → the ids given for it without a type
    names: number in the index → type or place, and code, of the parameter
    """

    links: int = 0
    tests: int = 0
    bare: dict[tuple[str, ...], set[str]] = field(default_factory=dict)
    names: dict[int, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standpoint:
    """Where a criterion applies.

    types: the types searched
    depth: how deep in a chain
    now:   the time that `ap` compares with
    base:  our own address with a slash at its end, or ""; references that begin with it are relative
    zone:  the time zone of days and times that name none; None is UTC
    within: where the other part of a composite stands (`index.paired`); "" for anything else
    sight: what the caller may see; also what a link leads through has to be in it
    most:  how deep a chain may go
    effort: shared by the whole search
    """

    types: tuple[str, ...]
    depth: int = 0
    now: datetime | None = None
    base: str = ""
    zone: ZoneInfo | None = None
    within: str = ""
    sight: Sight | None = None
    most: int = MAX_DEPTH
    effort: _Effort = field(default_factory=_Effort)

    def number(self, type: str, code: str) -> int:
        """The number in the index of a parameter of a type, or of what stands at a place."""
        place = self.within or type
        number = index.number(place, code)
        self.effort.names[number] = place, code
        return number

    def behind(self, types: tuple[str, ...]) -> Standpoint:
        """Behind one more link of a chain."""
        if self.depth >= self.most:
            raise BadRequest(f"The search is chained more than {MAX_DEPTH} links deep; ask in two steps.")
        self.effort.links += 1
        if self.effort.links > MAX_LINKS:
            raise BadRequest(
                "The chains of this search may lead to too many types; name them, as in subject:Patient.name."
            )
        return replace(self, types=types, depth=self.depth + 1, within="")

    def look_for(self, values: int) -> None:
        """Raise BadRequest if so many more values, in each of the types, are too many."""
        self.effort.tests += values * len(self.types)
        if self.effort.tests > MAX_TESTS:
            raise BadRequest(
                "The search holds too many values for the types they are looked for in; name types (by _type,"
                " or as in subject:Patient.name), or ask in parts."
            )


def split_escaped(value: str, separator: str) -> list[str]:
    """Split at each separator that has no backslash before it; the backslashes stay."""
    if separator not in value:
        return [value] if value else []
    return re.findall(rf"(?:\\.|[^\\{re.escape(separator)}]|\\$)+", value, re.DOTALL)


def unescape(value: str) -> str:
    r"""`\,` `\|` `\$` `\\` stand for the character itself."""
    return re.sub(r"\\([,|$\\])", r"\1", value) if "\\" in value else value


def pieces(part: str) -> list[str]:
    """Split at unescaped `|`, keeping empty pieces."""
    if "\\" not in part:
        return part.split("|")
    found: list[list[str]] = [[]]
    for run in re.findall(r"\||(?:\\.|[^\\|]|\\$)+", part, re.DOTALL):
        if run == "|":
            found.append([])
        else:
            found[-1].append(run)
    return [unescape("".join(piece)) for piece in found]


def alternatives(name: str, value: str) -> list[str]:
    """The values between commas, still escaped."""
    parts = split_escaped(value, ",")
    if len(parts) > MAX_ALTERNATIVES:
        raise BadRequest(f"{name}: more than {MAX_ALTERNATIVES} values; ask in several searches.")
    if not parts:
        raise BadRequest(f"{name}: the value is empty; give one or leave the parameter out.")
    return parts

"""What is wrong in resources that are kept although they break a rule of FHIR, or of a profile they claim.

A mark says which rule which element breaks. Marks are kept beside the resources (table `quality`), never in
them: so a mark makes no version, no client can set one, and none is copied or travels. A valid resource has
no row.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from fhir_coprod.instants import from_milliseconds, instant
from fhir_coprod.outcome import Issue, Outcome

MOST_MARKS = 50
"""Marks of one resource: a record that breaks more rules is no better described by a longer list."""
_LONGEST = 400
"""Characters of an element's path and of a message: an extension may stand in an extension, and so on."""
_INDEX = re.compile(r"\[\d+\]")
_NAMED = re.compile(r"(?:FHIR R4 has no element )?`(\w+)(?:\[x\])?` ")
_KEY = re.compile(r"\(([A-Za-z][\w-]*)\)$")


class Mark(NamedTuple):
    """One thing that is wrong in a resource, however often it is.

    rule:    the key of the broken rule, such as ele-1, or else the kind of fault as in OperationOutcome.issue
    element: path without indices, such as DiagnosticReport.media.link
    message: a sentence about it; never personal data
    source:  where the fault came from, as in `Version.source`: ehr:NAME, or "" for a file or client
    """

    rule: str
    element: str
    message: str
    source: str = ""


Marks = tuple[Mark, ...]


def marks(outcome: Outcome, source: str = "") -> Marks:
    """The marks of what an outcome calls an error; none for a valid resource."""
    found: dict[tuple[str, str], Mark] = {}
    for issue in outcome.issues:
        if issue.is_error and len(found) < MOST_MARKS:
            mark = Mark(rule(issue), element(issue), issue.message[:_LONGEST], source)
            found.setdefault(mark[:2], mark)
    return tuple(found.values())


def told_by(wrong: Marks, before: Marks, other: str = "") -> Marks:
    """The marks, each with the source that it had before, if it is not new; a new one with the other."""
    source = {mark[:2]: mark.source for mark in before}
    return tuple(mark._replace(source=source.get(mark[:2], other)) for mark in wrong)


def packed(wrong: Marks) -> bytes | None:
    """Marks as a column holds them; None for a valid record."""
    return _pack(wrong) if wrong else None


def unpacked(column: bytes | None) -> Marks:
    """The marks in a column."""
    return _unpack(column) if column else ()


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(tuple[Mark, ...]).decode


def rule(issue: Issue) -> str:
    """The key of the rule that is broken, or else the code of the issue."""
    key = _KEY.search(issue.message) if issue.code == "invariant" else None
    return key[1] if key else issue.code


def element(issue: Issue) -> str:
    """Where it is, without the indices: one fault of a sender is one line, in whichever item it is.

    Of an element that is missing, or that R4 does not have, the issue names the parent; here it is itself.
    """
    place = _INDEX.sub("", issue.expression)
    named = _NAMED.match(issue.message) if issue.code in ("required", "structure") else None
    if named and not place.endswith(f".{named[1]}"):
        place = f"{place}.{named[1]}"
    return place[:_LONGEST]


def added(outcome: Outcome, *before: Outcome) -> Outcome:
    """`outcome` without the errors that are in `before` already, each as often as it is there.

    An error is the same if it says the same of the same element, in whichever item of a list.
    """
    had = Counter(_what(issue) for known in before for issue in known.errors)
    left: list[Issue] = []
    for issue in outcome.issues:
        if issue.is_error and had[_what(issue)] > 0:
            had[_what(issue)] -= 1
        else:
            left.append(issue)
    return Outcome(tuple(left))


def _what(issue: Issue) -> tuple[str, str, str]:
    return (issue.code, element(issue), issue.message)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: what is wrong in how many resources of one source, and since when.

    source: as in `Mark`
    ids:    a few of these resources
    """

    source: str
    type: str
    rule: str
    element: str
    message: str
    resources: int
    since: datetime
    ids: tuple[str, ...]

    @property
    def ehr(self) -> str:
        """The name of the EHR; "" for files and clients."""
        return self.source.removeprefix("ehr:")

    def to_json(self) -> dict[str, Any]:
        """As `fhir-coprod quality --json` prints it."""
        return {
            "ehr": self.ehr or None,
            "type": self.type,
            "rule": self.rule,
            "element": self.element,
            "message": self.message,
            "resources": self.resources,
            "since": instant(self.since),
            "examples": [f"{self.type}/{id}" for id in self.ids],
        }


A_FEW = 3
_KINDS = (
    "SELECT source, type, rule, element, count(*), min(since) FROM quality"
    " GROUP BY source, type, rule, element ORDER BY source, count(*) DESC, type, rule, element"
)
_EXAMPLES = (
    "SELECT q.message, r.id FROM (SELECT key, message, since FROM quality"
    f" WHERE source = ? AND type = ? AND rule = ? AND element = ? ORDER BY since, key LIMIT {A_FEW}) q"
    " JOIN resource r ON r.key = q.key ORDER BY q.since, q.key"
)
_COUNTS = "SELECT source, type, rule, count(*) FROM quality GROUP BY source, type, rule ORDER BY 1, 2, 3"

_Read = Callable[[str, Sequence[Any]], list[Any]]


def faults(read: _Read) -> list[Fault]:
    """Every kind of fault, by source, the most frequent first, with the oldest as examples.

    Kinds are counted in an index that has them together, and there are few of them.
    """
    found = []
    for source, type, rule, element, count, since in read(_KINDS, ()):
        if examples := read(_EXAMPLES, (source, type, rule, element)):
            message, ids = examples[0][0], tuple(id for _, id in examples)
            found.append(Fault(source, type, rule, element, message, count, from_milliseconds(since), ids))
    return found


def counts(read: _Read) -> list[tuple[str, str, str, int]]:
    """(source, type, rule, number of marks), for a metric."""
    return [tuple(row) for row in read(_COUNTS, ())]

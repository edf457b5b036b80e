"""`Kind`: one way in which a record, a patch or a query can grow, made in any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from tests.validation.generator import NARRATIVE as GENERATED

Make = Callable[[int], Any]
"""From a number of items to a resource with so many of them, or to what else is sent."""

NARRATIVE = GENERATED


@dataclass(frozen=True, slots=True)
class Kind:
    """One way in which something grows.

    group: "hand" for a record written by hand, "element" for one element grown by definition; "patch",
           "query" and "lines" for what else `cost_ways` sends
    """

    name: str
    make: Make
    group: str = "hand"

    def sized(self, size: int) -> bytes:
        """One of about so many bytes."""
        few, more = len(jsontext.encode(self.make(2))), len(jsontext.encode(self.make(22)))
        each = max((more - few) / 20, 1)
        return jsontext.encode(self.make(max(2, round((size - few) / each) + 2)))


def basic(**members: Any) -> Json:
    text = {"status": "generated", "div": NARRATIVE}
    return {"resourceType": "Basic", "id": "b", "text": text, "code": {"text": "x"}, **members}


def patient(**members: Any) -> Json:
    text = {"status": "generated", "div": NARRATIVE}
    return {"resourceType": "Patient", "id": "p", "text": text, **members}


def coding(number: int) -> Json:
    return {"system": "http://example.org/codes", "code": f"c{number}"}


def inner(number: int, **members: Any) -> Json:
    """A small resource to be held by another."""
    return {"resourceType": "Basic", "id": f"g{number}", "code": {"text": "x"}, **members}


def care_plan() -> Json:
    return {
        "resourceType": "CarePlan",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "active",
        "intent": "plan",
        "subject": {"reference": "Patient/p"},
    }

"""Search parameters as data: what a resource type can be searched by, and where it keeps the values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a composite parameter.

    definition: canonical of the SearchParameter for this part
    expression: FHIRPath from the composite's own value to this part's
    """

    definition: str
    expression: str


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One way to search one resource type (https://hl7.org/fhir/R4/searchparameter.html).

    code:       the name in the URL
    type:       number | date | string | token | reference | composite | quantity | uri | special
    expression: FHIRPath for this resource type only
    target:     resource types a reference may point at; empty = any
    url:        canonical of the SearchParameter
    components: the parts of a composite
    """

    code: str
    type: str
    expression: str
    target: tuple[str, ...]
    url: str
    components: tuple[Component, ...] = ()


def split_expression(expression: str, resource_type: str) -> str:
    """The branches of a union that concern one resource type: `A.x | B.y`, "B" → `B.y`.

    A branch that names no type (`name` instead of `Patient.name`) is kept.
    """
    every = branches(expression)
    own = [branch for branch in every if _type_of(branch) in (resource_type, "")]
    return " | ".join(own or every)


def branches(expression: str) -> list[str]:
    """Split at `|` outside brackets and quotes."""
    found: list[str] = []
    depth = 0
    quoted = False
    start = 0
    for at, character in enumerate(expression):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth -= 1
        elif character == "|" and depth == 0:
            found.append(expression[start:at].strip())
            start = at + 1
    return [*found, expression[start:].strip()]


def _type_of(branch: str) -> str:
    head = branch.lstrip("(").partition(".")[0].partition(" ")[0]
    return head if head[:1].isupper() else ""

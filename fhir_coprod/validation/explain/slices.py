"""The explaining tier for slices: tells to which slice each value of a list belongs, and checks it there."""

from __future__ import annotations

from typing import Protocol

from fhir_coprod.outcome import Severity
from fhir_coprod.validation.explain import wording
from fhir_coprod.validation.explain.extensions import is_relative
from fhir_coprod.validation.explain.item import Item
from fhir_coprod.validation.model.content import Field, Slice
from fhir_coprod.validation.model.scope import Scope


class Walk(Protocol):
    """The part of the walk that slices need."""

    def report(self, severity: Severity, code: str, at: str, message: str) -> None: ...

    def error(self, code: str, at: str, message: str) -> None: ...

    def count(self, field: Field, number: int, owner: Item, what: str) -> None: ...

    def typed(self, field: Field, item: Item, scope: Scope, strict: bool) -> None: ...


def explain_slices(walk: Walk, field: Field, items: list[Item], owner: Item, scope: Scope) -> None:
    """Check each value against the slice that it belongs to, and how many each slice has."""
    members: dict[str, list[Item]] = {part.name: [] for part in field.slices}
    last = -1
    unclear = any(part.matches is None for part in field.slices)
    for item in items:
        position, part, other = _slice_of(field, item, scope)
        if part is None:
            if not unclear:
                _outside(walk, field, item, list(members))
            if field.rules == "openAtEnd":
                last = len(field.slices)
            continue
        if position < last and (field.ordered or field.rules == "openAtEnd"):
            message = f"The slice `{part.name}` of {field.path} stands too late; put the list in order."
            walk.error("structure", item.at, message)
        if other is not None:
            message = f"The value fits two slices of {field.path}: `{part.name}` and `{other.name}`."
            walk.error("structure", item.at, message)
        last = max(last, position)
        members[part.name].append(item)
    for part in field.slices:
        if part.matches is None:
            message = f"The slice `{part.name}` of {field.path} cannot be told apart, so it was not checked."
            walk.report("information", "not-supported", f"{owner.at}.{field.name}", message)
            continue
        mine = members[part.name]
        walk.count(part.field, len(mine), owner, wording.slice_of(field, part.name))
        for item in mine:
            walk.typed(part.field, item, scope, strict=False)
        if part.field.slices:
            explain_slices(walk, part.field, mine, owner, scope)


def _outside(walk: Walk, field: Field, item: Item, names: list[str]) -> None:
    """Report a value that belongs to no slice."""
    if field.rules == "closed":
        fitting = wording.choice(names)
        message = f"The value fits none of the slices {fitting} of {field.path}, and no other is allowed."
        walk.error("structure", item.at, message)
    elif field.path.endswith("Extension.extension") and is_relative(item.value):
        message = f"The extension around it has no part of that name; use {wording.choice(names)}."
        walk.error("extension", item.at, message)


def _slice_of(field: Field, item: Item, scope: Scope) -> tuple[int, Slice | None, Slice | None]:
    """The place of the first slice that the value belongs to, that slice, and another that it surely fits."""
    first, at = None, -1
    for position, part in enumerate(field.slices):
        if part.matches is None or (first is not None and not (first.certain and part.certain)):
            continue
        if part.matches(item.value, item.type, scope):
            if first is not None:
                return at, first, part
            first, at = part, position
    return at, first, None

"""The checks of places in a resource, as a protocol for the modules that check objects and profiles."""

from __future__ import annotations

from typing import Protocol

from fhir_coprod.validation.fast.checks import Check
from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library


class Places(Protocol):
    """Checks by place; `types.Fast` makes them."""

    library: Library

    def field_check(self, field: Field, code: str, owner: Content) -> Check:
        """What a member may hold, list or single."""
        ...

    def beneath(self, field: Field, key: str, code: str) -> Check:
        """The object under `_name`: the extensions or the id of a primitive."""
        ...

    def extras(self, content: Content, code: str, *, strict: bool) -> list[Check]:
        """What a place requires of a value beyond its type."""
        ...

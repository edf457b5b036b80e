"""What checks of objects and profiles ask of the tier as a whole: the checks of places in a resource."""

from __future__ import annotations

from typing import Protocol

from fhir_coprod.validation.fast.checks import Check
from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library


class Places(Protocol):
    """Checks by place; `types.Fast` makes them."""

    library: Library

    def field_check(self, field: Field, code: str, owner: Content) -> Check:
        """What a member holds, list or single."""
        ...

    def beneath(self, field: Field, key: str, code: str) -> Check:
        """The object under `_name`: extensions or an id of a primitive."""
        ...

    def extras(self, content: Content, code: str, *, strict: bool) -> list[Check]:
        """What a place asks of a value beside its type."""
        ...

"""The other definitions that the compiler needs to see while it compiles one."""

from __future__ import annotations

from typing import Protocol

from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.validation.model.content import Model
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import Structure


class Lookup(Protocol):
    """Answers by canonical or type name; `library.Library` is the one that programs use."""

    def structure(self, url: str) -> Structure | None: ...

    def type_model(self, code: str) -> Model | None: ...

    def value_set(self, url: str) -> ValueSet | None: ...

    def resource_type_of(self, canonical: str) -> str:
        """The resource type that a canonical of a type or a profile constrains; "" when unknown."""
        ...

    def conforms(self, value: object, profile: str, scope: Scope) -> bool:
        """Whether a value satisfies a profile."""
        ...

"""The compiled models that a validator works with: R4, our package, and any packages loaded as well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from fhir_coprod import definitions
from fhir_coprod.definitions.terminology import ValueSet, bare
from fhir_coprod.errors import ConfigError, UnknownDefinition
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model.compiler import compile_profile, compile_type
from fhir_coprod.validation.model.content import Model
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import NoSnapshot, Structure, structure

FHIR = "http://hl7.org/fhir/StructureDefinition/"


MALFORMED = (LookupError, TypeError, AttributeError, ValueError)
"""What compiling raises when a definition does not have the form that R4 prescribes."""


def _malformed(what: str, url: str, error: Exception) -> ConfigError:
    why = f"{type(error).__name__}: {error}"
    return ConfigError(
        f"The {what} {url} cannot be used: it is not as R4 has it ({why}); build its package again for R4."
    )


Conforms = Callable[["Library", object, str, Scope], bool]
"""Whether a value that already fits its type also satisfies a profile: (library, value, profile, scope)."""


class Library:
    """Compiles each definition on first use and keeps it. Safe to share between threads."""

    def __init__(self, structures: Iterable[Json], conforms: Conforms) -> None:
        """structures: StructureDefinitions to hold here besides those of R4 and of the loaded packages."""
        self._conforms = conforms
        self._own: dict[str, Json] = {s["url"]: s for s in structures}
        self._structures: dict[str, Structure | None] = {}
        self._types: dict[str, Model] = {}
        self._profiles: dict[str, Model] = {}
        self._value_sets: dict[str, ValueSet | None] = {}
        self._compiling = threading.RLock()

    # ------------------------------------------------------------------ definitions

    def structure(self, url: str) -> Structure | None:
        """The structure by canonical or type name; None when it is unknown or has no snapshot."""
        key = bare(url)
        if key not in self._structures:
            with self._compiling:
                definition = self._definition(key)
                if definition is None:
                    return None  # not remembered: records may name any number of canonicals
                try:
                    self._structures[key] = structure(definition)
                except NoSnapshot:
                    self._structures[key] = None
                except MALFORMED as error:
                    raise _malformed("StructureDefinition", key, error) from None
        return self._structures[key]

    def _definition(self, url: str) -> Json | None:
        try:
            return self._found(url)
        except UnknownDefinition:
            return None

    def _found(self, url: str) -> Json:
        own = self._own.get(url)
        if own is None:
            return definitions.structure(url)
        if not own.get("snapshot"):
            own = self._own[url] = definitions.with_snapshot(own, self._found)
        return own

    def why_unknown(self, url: str) -> str:
        """Why a definition that is held cannot be used, as a sentence; "" when it is not held at all."""
        if bare(url) not in self._own and not definitions.has_structure(url):
            return ""
        try:
            self._found(bare(url))
        except UnknownDefinition as error:
            return error.message
        return ""

    def value_set(self, url: str) -> ValueSet | None:
        key = bare(url)
        if key not in self._value_sets:
            try:
                self._value_sets[key] = definitions.value_set_content(key)
            except MALFORMED as error:
                raise _malformed("ValueSet", key, error) from None
        return self._value_sets[key]

    # ------------------------------------------------------------------ models

    def type_model(self, code: str) -> Model | None:
        """The complete model of a resource or data type by name; None for an unknown one."""
        held = self._types.get(code)
        if held is None and "/" not in code:
            with self._compiling:
                held = self._types.get(code)
                found = self.structure(code) if held is None else None
                if found is not None and not found.profile:
                    held = self._types[code] = compile_type(found, self)
        return held

    def resource_model(self, name: str) -> Model | None:
        """The model of a concrete resource type."""
        return self.type_model(name) if definitions.is_resource_type(name) else None

    def is_resource(self, name: str) -> bool:
        return definitions.is_resource_type(name)

    def profile_model(self, url: str) -> Model | None:
        """The overlay of a profile by canonical; None when it is unknown or is the definition of a type."""
        key = bare(url)
        held = self._profiles.get(key)
        if held is None:
            with self._compiling:
                held = self._profiles.get(key)
                found = self.structure(key) if held is None else None
                if found is not None and found.profile:
                    try:
                        held = self._profiles[key] = compile_profile(found, self)
                    except MALFORMED as error:
                        raise _malformed("StructureDefinition", key, error) from None
        return held

    def conforms(self, value: object, profile: str, scope: Scope) -> bool:
        """Whether a value that already fits its type also satisfies a profile."""
        return self._conforms(self, value, profile, scope)

    # ------------------------------------------------------------------ names

    def ancestors(self, code: str) -> tuple[str, ...]:
        """A type and the types it specialises, up to Element or Resource."""
        found = self.structure(code)
        if found is None or not found.base:
            return (code,)
        return (code, *self.ancestors(found.base.removeprefix(FHIR)))

    def is_base(self, canonical: str) -> bool:
        """Whether a canonical names the definition of a type; every value is checked against its own type."""
        url = bare(canonical)
        return url.startswith(FHIR) and self.type_model(url.removeprefix(FHIR)) is not None

    def is_of_type(self, value: object, canonical: str) -> bool:
        """Whether a resource is of the type whose definition a canonical names, or of one derived from it."""
        named = value.get("resourceType") if isinstance(value, dict) else None
        return isinstance(named, str) and bare(canonical).removeprefix(FHIR) in self.ancestors(named)

    def resource_type_of(self, canonical: str) -> str:
        """The type that a canonical of a type or a profile is about; "" when it is unknown."""
        url = bare(canonical)
        name = url.removeprefix(FHIR)
        if definitions.is_resource_type(name):
            return name
        found = self.structure(url)
        return found.type if found is not None else ""

    def title(self, canonical: str) -> str:
        """What messages call a profile."""
        found = self.structure(canonical)
        return found.title if found is not None else canonical

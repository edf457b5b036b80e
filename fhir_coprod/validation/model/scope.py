"""The surroundings of a value: its resource, that resource's container, and the Bundle around both."""

from __future__ import annotations

import re
from functools import cached_property

from fhir_coprod.definitions import is_resource_type
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import Env

_LITERAL = re.compile(
    r"(?:(?:http|https)://[A-Za-z0-9\-\\.:%$_~/]+/)?([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?(?:#.*)?"
).fullmatch

_CARRIERS = ("Bundle", "Parameters")
"""The types that carry whole resources, which are not contained."""


def literal_type(reference: str) -> str:
    """The resource type that a literal reference names: "Patient" for `Patient/1` and `https://x/fhir/Patient/1`.

    "" for anything else: `#contained`, `urn:uuid:…`, a conditional reference, any other URL.
    """
    match = _LITERAL(reference)
    return match[1] if match else ""


class Scope:
    """One resource under validation and everything that its references can reach.

    resource:  %resource
    container: %rootResource: the same as resource, except for a contained resource
    outer:     the scope of the Bundle or Parameters that carries it
    """

    def __init__(self, resource: Json, holder: Scope | None = None, outer: Scope | None = None) -> None:
        """holder: the scope of the resource that contains this one"""
        self.resource = resource
        self.container: Json = resource if holder is None else holder.container
        self.outer = outer
        self._holder = holder
        self._environment: Env | None = None

    def within(self, resource: Json, *, contained: bool) -> Scope:
        """The scope of a resource inside this one: contained, or carried by a Bundle or Parameters."""
        if contained:
            return Scope(resource, self._holder or self, self.outer)
        return Scope(resource, None, self)

    def of(self, value: object) -> Scope:
        """The scope of a value in this resource, or where a reference of it leads: a resource has its own."""
        if not isinstance(value, dict) or "resourceType" not in value or value is self.resource:
            return self
        if value is self.container:
            return self._holder or self
        identity = value.get("id")
        if isinstance(identity, str) and self.contained.get(identity) is value:
            return self.within(value, contained=True)
        if self.outer is not None and self.resource.get("resourceType") not in _CARRIERS:
            return self.outer.within(value, contained=False)
        return self.within(value, contained=False)

    @cached_property
    def conforming(self) -> dict[tuple[int, int, str], tuple[object, bool]]:
        """Whether a value satisfies a profile, by the identities of the value and its resource; with the
        value itself. Shared by all scopes of one pass, since many references may point to one resource."""
        near = self._holder or self.outer
        return {} if near is None else near.conforming

    @property
    def environment(self) -> Env:
        """The same surroundings for FHIRPath."""
        # Nearly every resource needs it; in Python 3.11 cached_property takes a lock, which takes longer.
        if self._environment is None:
            outer = self.outer
            bundle = outer if outer is not None and outer.resource.get("resourceType") == "Bundle" else None
            self._environment = Env(
                self.resource,
                None if self.container is self.resource else self.container,
                None if bundle is None else bundle.resource,
                container=None if self._holder is None else self._holder.environment,
                around=None if bundle is None else bundle.environment,
            )
        return self._environment

    @cached_property
    def contained(self) -> dict[str, Json]:
        """Contained resources by id."""
        if self._holder is not None:
            return self._holder.contained
        found: dict[str, Json] = {}
        contained = self.container.get("contained")
        for resource in contained if isinstance(contained, list) else ():
            if isinstance(resource, dict) and isinstance(resource.get("id"), str):
                found[resource["id"]] = resource
        return found

    @cached_property
    def entries(self) -> dict[str, Json]:
        """Resources of this Bundle by fullUrl and by Type/id."""
        found: dict[str, Json] = {}
        entries = self.resource.get("entry") if self.resource.get("resourceType") == "Bundle" else None
        for entry in entries if isinstance(entries, list) else ():
            resource = entry.get("resource") if isinstance(entry, dict) else None
            if not isinstance(resource, dict):
                continue
            if isinstance(entry.get("fullUrl"), str):
                found.setdefault(entry["fullUrl"], resource)
            if isinstance(resource.get("resourceType"), str) and isinstance(resource.get("id"), str):
                found.setdefault(f"{resource['resourceType']}/{resource['id']}", resource)
        return found

    @cached_property
    def defined(self) -> dict[tuple[str, str], Json]:
        """Resources of this Bundle by type and canonical, with and without |version."""
        found: dict[tuple[str, str], Json] = {}
        for resource in self.entries.values():
            if isinstance(url := resource.get("url"), str):
                for canonical in (url, f"{url}|{resource.get('version', '')}"):
                    found.setdefault((str(resource.get("resourceType")), canonical), resource)
        return found

    @cached_property
    def found(self) -> dict[str, frozenset[object] | None]:
        """What FHIRPath expressions found in the resource, for others that ask with the same one."""
        return {}

    def resolve(self, reference: str) -> Json | None:
        """The resource that a reference points to, if it is contained here or in a surrounding Bundle."""
        if reference.startswith("#"):
            return self.container if reference == "#" else self.contained.get(reference[1:])
        scope = self.outer
        while scope is not None:
            found = scope.entries.get(reference)
            if found is not None:
                return found
            scope = scope.outer
        return None

    def target_types(self, reference: Json) -> list[str]:
        """The resource types that a Reference may point to, by its target or literal and by its `type`."""
        types: list[str] = []
        literal = reference.get("reference")
        if isinstance(literal, str):
            target = self.resolve(literal)
            named = literal_type(literal) if target is None else target.get("resourceType")
            if isinstance(named, str) and is_resource_type(named):
                types.append(named)
        declared = reference.get("type")
        if isinstance(declared, str):
            types.append(declared.rpartition("/")[2])
        return types

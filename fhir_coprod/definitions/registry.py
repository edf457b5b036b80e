"""Looks up definitions in all sources: the R4 pack, our package, and packages loaded at run time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from threading import RLock

from fhir_coprod.definitions.editions import Editions, editions, joined, newest_first
from fhir_coprod.definitions.pack import Pack, TerminologyPack
from fhir_coprod.definitions.package import Package
from fhir_coprod.definitions.search import Component, SearchParameter, split_expression
from fhir_coprod.definitions.snapshots import with_snapshot
from fhir_coprod.definitions.terminology import (
    Hierarchy,
    ValueSet,
    bare,
    expand,
    hierarchy,
    is_complete,
    union,
)
from fhir_coprod.errors import UnknownDefinition
from fhir_coprod.jsontext import Json

CORE = "http://hl7.org/fhir/StructureDefinition/"
"""Where R4's own StructureDefinitions live; "Patient" is short for CORE + "Patient"."""


class Definitions:
    """Look-up by canonical (without regard to a |version) or by R4 name.

    Of structures and search parameters R4's win over packages, and earlier packages win over later ones:
    nobody can redefine Patient. Of code systems and value sets the newest version wins, since they grow; only
    FHIR's own (http://hl7.org/fhir/…) are R4's for good, and nothing that R4 allows is lost. What it returns
    is shared; do not change it.
    """

    def __init__(
        self, pack: Pack, packages: tuple[Package, ...] = (), terminology: TerminologyPack | None = None
    ) -> None:
        """terminology: HL7's terminology of today"""
        self._pack = pack
        self._terminology = terminology
        self._packages = packages
        self._structures: dict[str, Json] = {}
        # What is not held is not remembered: records and searches may name any number of canonicals.
        self._value_sets: dict[str, ValueSet] = {}
        self._working = RLock()
        """Held by a thread that works a value set out; others wait for the answer."""
        self._unfinished: set[str] = set()
        self._code_systems: dict[str, Editions] = {}
        self._code_system_resources: dict[str, Json] = {}
        self._hierarchies: dict[str, Hierarchy] = {}
        self._resources: dict[tuple[str, str], list[Json]] = {}
        self._parameters: dict[str, Mapping[str, SearchParameter]] = {}
        self._own_parameters: tuple[Json, ...] | None = None
        self.generation = 0
        """Rises with every package added, so that callers who cache what they compiled can compare it."""

    def add(self, package: Package) -> None:
        """Add the definitions of a package."""
        self._packages = (*self._packages, package)
        self._value_sets.clear()
        self._code_systems.clear()
        self._code_system_resources.clear()
        self._hierarchies.clear()
        self._resources.clear()
        self._parameters.clear()
        self._own_parameters = None
        self.generation += 1

    @property
    def packages(self) -> tuple[Package, ...]:
        return self._packages

    # structures

    @cached_property
    def resource_types(self) -> tuple[str, ...]:
        """Concrete resource types of R4, sorted."""
        return tuple(
            sorted(
                type_
                for _, type_, kind, derivation in self._pack.index.values()
                if kind == "resource" and derivation == "specialization" and type_ != "DomainResource"
            )
        )

    @cached_property
    def resource_type_names(self) -> frozenset[str]:
        """The same as a set, for membership tests."""
        return frozenset(self.resource_types)

    @cached_property
    def data_types(self) -> tuple[str, ...]:
        """Complex and primitive datatypes of R4, sorted."""
        return tuple(
            sorted(
                type_
                for _, type_, kind, derivation in self._pack.index.values()
                if kind in ("complex-type", "primitive-type") and derivation != "constraint"
            )
        )

    def has_structure(self, url: str) -> bool:
        url = canonical(url)
        return url in self._pack.index or any(self._packaged(url, "StructureDefinition"))

    def structure(self, url: str) -> Json:
        """A StructureDefinition with its snapshot. Raises UnknownDefinition."""
        url = canonical(url)
        held = self._structures.get(url)
        if held is None:
            held = self._pack.structure(url) or next(self._packaged(url, "StructureDefinition"), None)
            if held is None:
                raise UnknownDefinition(
                    f"No StructureDefinition {url} is known here; correct the canonical or load its package."
                )
            if not held.get("snapshot"):
                held = with_snapshot(held, self.structure)
            self._structures[url] = held
        return held

    def resource(self, resource_type: str, url: str) -> Json | None:
        """A conformance resource of the packages by canonical, the newest one; None when it is not held.

        A |version decides where a package has that version.
        """
        bare_url, _, version = url.partition("|")
        key = (resource_type, bare_url)
        found = self._resources.get(key)
        if found is None:
            found = newest_first(self._packaged(bare_url, resource_type))
            if not found:
                return None  # not remembered: records may name any number of canonicals
            self._resources[key] = found
        named = [one for one in found if one.get("version") == version]
        return (named or found)[0]

    # terminology

    def value_set(self, url: str) -> ValueSet | None:
        """What the value set allows; None when it is not held."""
        url = bare(url)
        held = self._value_sets.get(url)
        if held is not None:
            return held
        with self._working:
            if url in self._unfinished:
                return None  # a value set that imports itself imports nothing
            held = self._value_sets.get(url)
            if held is None:
                self._unfinished.add(url)
                try:
                    held = self._worked_out(url)
                finally:
                    self._unfinished.discard(url)
                if held is not None:
                    self._value_sets[url] = held
            return held

    def _worked_out(self, url: str) -> ValueSet | None:
        """R4's own list, what it has grown to with its code systems, and its newest version, in one."""
        own, newest = self._pack.value_set(url), self._pack.compose(url)
        if own is None or not _is_fhirs(url):
            shipped = self._terminology.compose(url) if self._terminology else None
            copies = newest_first(filter(None, [shipped, *self._packaged(url, "ValueSet")]))
            newest = copies[0] if copies else newest
        if newest is None:
            return own
        grown = expand(newest, self.value_set, self.code_system_resource)
        return grown if own is None else union(own, grown)

    def code_system(self, url: str) -> frozenset[str] | None:
        """Every code of the system, in its newest version or in R4's; None when we do not hold them all."""
        held = self.editions(url)
        return None if held is None else held.codes

    def editions(self, url: str) -> Editions | None:
        """What is known of a code system, version by version; None when it is not held."""
        url = bare(url)
        held = self._code_systems.get(url)
        if held is None:
            found = editions(*self._copies(url))
            if found is None:
                return None
            held = self._code_systems[url] = found
        return held

    def code_system_resource(self, url: str) -> Json | None:
        """The newest CodeSystem with what only R4's copy has, cut down to what decides membership."""
        url = bare(url)
        held = self._code_system_resources.get(url) or joined(*self._copies(url))
        if held is not None:
            self._code_system_resources[url] = held
        return held

    def hierarchy(self, url: str) -> Hierarchy | None:
        """What stands below what in a code system; None when we do not hold the whole of it."""
        held = self.code_system_resource(url)
        if held is None or not is_complete(held):
            return None
        url = bare(url)
        if url not in self._hierarchies:
            self._hierarchies[url] = hierarchy(held)
        return self._hierarchies[url]

    def _copies(self, url: str) -> tuple[Json | None, list[Json]]:
        """R4's own copy of a code system, and all others, the newest first."""
        own = self._pack.code_system(url)
        if own is not None and _is_fhirs(url):
            return own, []
        shipped = self._terminology.code_system(url, own) if self._terminology else None
        return own, newest_first(filter(None, [shipped, *self._packaged(url, "CodeSystem")]))

    # search

    def search_parameters(self, resource_type: str) -> Mapping[str, SearchParameter]:
        """By code: R4's parameters, those inherited from Resource and DomainResource, and packages' own."""
        held = self._parameters.get(resource_type)
        if held is None:
            found = self._pack.search_parameters(resource_type)
            for resource in self._packaged_parameters() if found else ():
                bases = resource.get("base", ())
                if (resource_type in bases and resource.get("expression")) or "Resource" in bases:
                    found.setdefault(resource["code"], _parameter(resource, resource_type))
            held = self._parameters[resource_type] = found
        return held

    def _packaged_parameters(self) -> tuple[Json, ...]:
        """The SearchParameters of all packages, read once."""
        if self._own_parameters is None:
            self._own_parameters = tuple(
                package.read(entry)
                for package in self._packages
                for entry in package.of_type("SearchParameter")
            )
        return self._own_parameters

    def compartment(self, name: str) -> Mapping[str, tuple[str, ...]]:
        """Resource type → search parameter codes that put it into the compartment; {} when unknown."""
        return self._pack.compartments.get(name, {})

    def _packaged(self, url: str, resource_type: str) -> Iterator[Json]:
        """What packages hold of a canonical, in the order in which they were loaded."""
        for package in self._packages:
            entry = package.by_url.get(url)
            if entry is not None and entry.type == resource_type:
                yield package.read(entry)


def _is_fhirs(url: str) -> bool:
    """Whether FHIR itself publishes a code system or value set, so that R4's version is all of it."""
    return url.startswith("http://hl7.org/fhir/") and not url.startswith("http://hl7.org/fhir/sid/")


def canonical(url_or_name: str) -> str:
    """A full canonical without |version: "Patient" → http://hl7.org/fhir/StructureDefinition/Patient."""
    url = bare(url_or_name)
    return url if ":" in url else CORE + url


def _parameter(resource: Json, resource_type: str) -> SearchParameter:
    return SearchParameter(
        code=resource["code"],
        type=resource["type"],
        expression=split_expression(resource.get("expression", ""), resource_type),
        target=tuple(resource.get("target", ())),
        url=resource["url"],
        components=tuple(
            Component(bare(c["definition"]), c["expression"]) for c in resource.get("component", ())
        ),
    )

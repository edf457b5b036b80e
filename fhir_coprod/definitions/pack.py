"""Reads the R4 pack: FHIR 4.0.1 in one zip file, piece by piece (written by scripts/build_r4_pack.py)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock

import msgspec

from fhir_coprod.definitions.search import Component, SearchParameter
from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.jsontext import Json

_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode = msgspec.json.Decoder().decode


class Pack:
    """Structures, value sets, code systems, search parameters and compartments of R4.

    Nothing is read before it is asked for; callers cache what they need.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(self._path)

    def _entry(self, name: str) -> bytes:
        with self._lock:
            return self._zip.read(name)

    @cached_property
    def index(self) -> Mapping[str, tuple[str, str, str, str]]:
        """Canonical → (id, type, kind, derivation) of every StructureDefinition."""
        return {url: tuple(row) for url, row in _decode(self._entry("index.json")).items()}

    def structure(self, url: str) -> Json | None:
        row = self.index.get(url)
        if row is None:
            return None
        structure: Json = _decode(self._entry(f"structure/{row[0]}.json"))
        return structure

    @cached_property
    def _value_sets(self) -> dict[str, msgspec.Raw]:
        return _raw_members.decode(self._entry("value-sets.json"))

    def value_set(self, url: str) -> ValueSet | None:
        raw = self._value_sets.get(url)
        if raw is None:
            return None
        held = _decode(raw)
        return ValueSet(
            {system: frozenset(codes) for system, codes in held["codes"].items()},
            frozenset(held.get("open", ())),
            held.get("known", True),
        )

    @cached_property
    def _code_systems(self) -> dict[str, msgspec.Raw]:
        return _raw_members.decode(self._entry("code-systems.json"))

    def code_system(self, url: str) -> Json | None:
        raw = self._code_systems.get(url)
        if raw is None:
            return None
        code_system: Json = _decode(raw)
        return code_system

    @cached_property
    def _search_parameters(self) -> dict[str, msgspec.Raw]:
        return _raw_members.decode(self._entry("search-parameters.json"))

    def search_parameters(self, resource_type: str) -> dict[str, SearchParameter]:
        raw = self._search_parameters.get(resource_type)
        return {} if raw is None else {code: _parameter(row) for code, row in _decode(raw).items()}

    @cached_property
    def compartments(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """Compartment → resource type → search parameter codes."""
        held: dict[str, dict[str, list[str]]] = _decode(self._entry("compartments.json"))
        return {
            name: {resource_type: tuple(codes) for resource_type, codes in members.items()}
            for name, members in held.items()
        }


def _parameter(row: Json) -> SearchParameter:
    return SearchParameter(
        code=row["code"],
        type=row["type"],
        expression=row["expression"],
        target=tuple(row.get("target", ())),
        url=row["url"],
        components=tuple(Component(c["definition"], c["expression"]) for c in row.get("component", ())),
    )

"""Reads the packs piece by piece: FHIR 4.0.1 in one zip file (by scripts/build_r4_pack.py), and a later
version of HL7's terminology in another (by scripts/build_terminology_pack.py).
"""

from __future__ import annotations

import io
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


class Zip:
    """Entries of one zip file. Nothing is read before it is asked for; callers cache what they need."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        # In memory: of an open file, forked processes would share the position and move it for each other.
        return zipfile.ZipFile(io.BytesIO(self._path.read_bytes()))

    def _entry(self, name: str) -> bytes:
        with self._lock:
            return self._zip.read(name)

    @cached_property
    def _value_sets(self) -> dict[str, msgspec.Raw]:
        return _raw_members.decode(self._entry("value-sets.json"))

    @cached_property
    def _code_systems(self) -> dict[str, msgspec.Raw]:
        return _raw_members.decode(self._entry("code-systems.json"))

    def compose(self, url: str) -> Json | None:
        """A ValueSet that is to be worked out from its compose; None if there is nothing to work out."""
        row = _decoded(self._value_sets.get(url))
        return row if row is not None and "compose" in row else None


class TerminologyPack(Zip):
    """Code systems and value sets of terminology.hl7.org, as they were when the pack was built."""

    def code_system(self, url: str, of_r4: Json | None) -> Json | None:
        """A CodeSystem, cut down to what decides membership.

        of_r4: R4's copy of it; where that has the same concepts, the pack holds only the version
        """
        row = _decoded(self._code_systems.get(url))
        return row if row is None or "concept" in row else (of_r4 or {}) | row


class Pack(Zip):
    """Structures, value sets, code systems, search parameters and compartments of R4."""

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

    def code_system(self, url: str) -> Json | None:
        """A CodeSystem, cut down to what decides membership."""
        return _decoded(self._code_systems.get(url))

    def value_set(self, url: str) -> ValueSet | None:
        """What the value set allows by R4's own copies of its code systems."""
        held = _decoded(self._value_sets.get(url))
        if held is None:
            return None
        return ValueSet(
            {system: frozenset(codes) for system, codes in held["codes"].items()},
            frozenset(held.get("open", ())),
            held.get("known", True),
        )

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


def _decoded(raw: msgspec.Raw | None) -> Json | None:
    if raw is None:
        return None
    row: Json = _decode(raw)
    return row


def _parameter(row: Json) -> SearchParameter:
    return SearchParameter(
        code=row["code"],
        type=row["type"],
        expression=row["expression"],
        target=tuple(row.get("target", ())),
        url=row["url"],
        components=tuple(Component(c["definition"], c["expression"]) for c in row.get("component", ())),
    )

"""Mapping files about other people's systems: written as TOML, checked against R4, kept as JSON.

read(text, file, form, mistakes)   a file that a person wrote, as `form`; every mistake with its line and key
compiled(kind, form)               the mappings in this package, compiled from mappings/ by `make mappings`
r4                                 whether R4 has a type, an element, a search parameter, a code

A kind of mapping is a Struct whose fields all have defaults, and a function that finds mistakes in one. Both
are defined where the mapping is used (`sync.ehr.vendor`, `sync.merging.merge`), so that a site's own file has
to obey the same rules as ours.
"""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import msgspec

from fhir_coprod.mappings.source import Finding, Key, Mistakes, read

__all__ = ["Finding", "Key", "Mistakes", "compiled", "read"]

T = TypeVar("T")


def compiled(kind: str, form: type[T]) -> T:
    """All files of one kind that come with the package; they were checked when they were compiled."""
    file = resources.files("fhir_coprod") / "_data" / "mappings" / f"{kind}.json"
    return msgspec.json.decode(file.read_bytes(), type=form)

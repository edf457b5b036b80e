"""`Change`: what the sync reports to its caller about each resource it writes into the store."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_coprod.jsontext import Json
from fhir_coprod.store import Written


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that was written (or, in a dry run, would have been), with its content before."""

    ehr: str
    """The EHR whose record caused the change."""
    written: Written
    before: Json

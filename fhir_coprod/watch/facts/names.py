"""Looks up names to show to staff: departments in full, patients by initials."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.record.fhir import split, target
from fhir_coprod.watch.rules.standing import Standing

_DEPARTMENTS: Final = ("Organization", "HealthcareService", "PractitionerRole", "CareTeam")


def read_names(reader: Reader, standings: Iterable[Standing]) -> dict[str, str]:
    """Names of the departments that the standings mention, by reference, except those without a name.

    A role without a text of its own gets the name of its organisation. Persons are not named.
    """
    mentioned: set[str] = set()
    for standing in standings:
        mentioned |= {standing.owner, *(stall.owner for stall in standing.stalls)}
        mentioned |= {note.owner for note in standing.notes}
    return names_of(reader, mentioned)


def names_of(reader: Reader, references: Iterable[str]) -> dict[str, str]:
    """Names of departments by reference; see `read_names`."""
    wanted = {name for name in references if name.partition("/")[0] in _DEPARTMENTS}
    rows = reader.by_reference({split(name) for name in wanted})
    names = {row.reference: _name(row.type, row.data) for row in rows}
    roles = {
        row.reference: target(row.data.get("organization"))
        for row in rows
        if row.type == "PractitionerRole" and not names[row.reference]
    }
    behind = reader.by_reference({split(name) for name in roles.values() if name.startswith("Organization/")})
    organisations = {row.reference: _name(row.type, row.data) for row in behind}
    for role, organisation in roles.items():
        names[role] = organisations.get(organisation, "")
    return {reference: name for reference, name in names.items() if name}


def initials_of(reader: Reader, references: Iterable[str]) -> dict[str, str]:
    """Initials of patients by reference, such as A.B., except of those without a name."""
    wanted = {split(name) for name in references if name.startswith("Patient/")}
    return {row.reference: letters for row in reader.by_reference(wanted) if (letters := _initials(row.data))}


def _name(type: str, data: Json) -> str:
    if type == "PractitionerRole":
        codes = data.get("code") or [{}]
        return str(codes[0].get("text") or (data.get("organization") or {}).get("display") or "")
    name = data.get("name")
    return name if isinstance(name, str) else ""


def _initials(patient: Json) -> str:
    for name in patient.get("name") or ():
        parts = [*(name.get("given") or ())[:1], name.get("family") or ""]
        first = (next((letter for letter in part if letter.isalpha()), "") for part in parts)
        letters = [letter.upper() + "." for letter in first if letter]
        if letters:
            return "".join(letters)
    return ""

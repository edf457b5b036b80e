"""Reads who is in a Group of an EHR (https://hl7.org/fhir/R4/group.html), as far as the EHR shows it."""

from __future__ import annotations

from fhir_coprod.errors import EhrError
from fhir_coprod.jsontext import Json
from fhir_coprod.sync.reading.shared import Reading

_OTHERS = frozenset(("Practitioner", "PractitionerRole", "Device", "Medication", "Substance"))
"""Members that are no patients and stand for none."""


async def members(reading: Reading, group: str) -> frozenset[str] | None:
    """The ids there of the patients in the group; None if the EHR does not show all of them."""
    try:
        _, data = await reading.client.json(group)
    except EhrError:
        return None
    return patients(data)


def patients(data: Json) -> frozenset[str] | None:
    """The ids of the patients that a Group names; None if it does not name all of its members."""
    listed = data.get("member")
    if data.get("resourceType") != "Group" or not isinstance(listed, list) or not listed:
        return None
    quantity = data.get("quantity")
    if isinstance(quantity, int) and quantity > len(listed):
        return None
    found = set()
    for member in listed:
        if not isinstance(member, dict):
            return None
        if member.get("inactive") is True:
            continue
        entity = member.get("entity")
        reference = entity.get("reference") if isinstance(entity, dict) else None
        if not isinstance(reference, str):
            return None
        type, _, id = reference.partition("/_history/")[0].rpartition("/")
        type = type.rpartition("/")[2]
        if type == "Patient":
            found.add(id)
        elif type not in _OTHERS:  # a Group with members of its own, or nothing that tells who it is
            return None
    return frozenset(found)

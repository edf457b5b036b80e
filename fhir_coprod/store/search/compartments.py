"""Compartments: what belongs to one patient, encounter, practitioner, related person or device.

https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fhir_coprod import definitions
from fhir_coprod.store import index
from fhir_coprod.store.search.conditions import Condition, Indexed, Own, Sql, any_of
from fhir_coprod.store.values import cut

NAMES = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")


@lru_cache(8)
def members(owner: str) -> Mapping[str, tuple[str, ...]]:
    """Resource type → the parameters that lead to the owner; the owner's own type is among them. Empty if R4
    has no such compartment."""
    found = {
        type: tuple(code for code in codes if index.is_indexed(type, code))
        for type, codes in definitions.compartment(owner).items()
    }
    return {owner: (), **found} if found else {}


def condition(owner: str, id: str, types: tuple[str, ...]) -> Condition:
    """What is in the compartment of one resource, among types that it may hold."""
    leads = Sql("target_id = ? AND target_type = ?", (cut(id), owner))
    ways: list[Condition] = [
        Indexed("reference", index.number(type, code), (leads,), equal=True)
        for type in types
        for code in members(owner)[type]
    ]
    if owner in types:
        ways.append(Own((owner,), Sql("{row}.id = ? AND {row}.type = ?", (id, owner))))
    return any_of(ways)

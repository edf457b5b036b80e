"""Which patients a resource is about, and who are the members of a Group.

A resource is about a patient if it is in their compartment
(https://hl7.org/fhir/R4/compartmentdefinition-patient.html), or if it names them by its search parameter
`patient` or `subject`: R4's compartment leaves out Task and Device. A Patient is about itself alone, and not
about whom it is linked with. A Provenance is also about the patients of its targets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.errors import Unsupported
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import readable
from fhir_coprod.store import Version, index
from fhir_coprod.store.entries import split_reference
from fhir_coprod.store.search import compartments
from fhir_coprod.store.values import time_meant

SUPPORTING = frozenset(
    {
        *("Practitioner", "PractitionerRole", "Organization", "OrganizationAffiliation", "Location"),
        *("HealthcareService", "Endpoint", "Medication", "MedicationKnowledge", "Substance", "Device"),
        *("DeviceDefinition", "Slot", "Schedule", "InsurancePlan", "ActivityDefinition", "PlanDefinition"),
        *("ChargeItemDefinition", "ObservationDefinition", "SpecimenDefinition"),
    }
)
"""Types of what helps to read the records of patients, and is exported with them if they refer to it."""
_ID = re.compile(jsontext.ID_PATTERN)
_NAMED = re.compile(rb"Patient/([A-Za-z0-9\-.]{1,64})")
_DIRECT = ("patient", "subject")
_DEPTH = 8
"""How deep a Group may be nested."""

Find = Callable[[str, str], Version | None]
"""The resource of a type and id as it was at the position of the export; None if there is none."""


@lru_cache(256)
def _leads(type: str) -> tuple[SearchParameter, ...]:
    """The parameters that lead from a type to patients."""
    known = definitions.search_parameters(type)
    codes = compartments.members("Patient").get(type)
    if codes is None:
        codes = tuple(code for code in _DIRECT if code in known and "Patient" in known[code].target)
    return tuple(known[code] for code in codes if known[code].type == "reference")


def may_be_about(version: Version, members: frozenset[str]) -> bool:
    """Whether it is worth a closer look if a resource is about one of these patients: told from its bytes."""
    body = version.body
    if version.deleted or version.type in ("Patient", "Provenance") or b"\\" in body:
        return True  # a name may be written with escapes
    return any(id.decode() in members for id in _NAMED.findall(body))


def of(version: Version, base: str, find: Find) -> frozenset[str]:
    """Ids of the patients that a resource is about."""
    if version.type == "Patient":
        return frozenset((version.id,))
    found: set[str] = set()
    if b"Patient" in version.body and _leads(version.type):
        data = _sound(version)
        for parameter in _leads(version.type):
            for _, value in index.extract(version.type, parameter, data):
                type, id = _named(value, base)
                found |= {id} if type == "Patient" else set()
    if version.type == "Provenance":
        for type, id in references(version.data.get("target"), base):
            target = find(type, id) if type not in ("", "Provenance") else None
            found |= of(target, base, find) if target else set()
    return frozenset(found)


def _sound(version: Version) -> Json:
    """What can be read of it: records of EHRs are kept although they break rules."""
    return readable(version.data, version.body).data


def _named(value: Any, base: str) -> tuple[str, str]:
    reference = value.get("reference") if isinstance(value, dict) else None
    return split_reference(reference.removeprefix(f"{base}/")) if isinstance(reference, str) else ("", "")


def references(value: Any, base: str) -> Iterator[tuple[str, str]]:
    """Type and id of all that is referred to inside a value, whichever way it is nested."""
    if isinstance(value, list):
        for item in value:
            yield from references(item, base)
    elif isinstance(value, dict):
        type, id = _named(value, base)
        if type and _ID.fullmatch(id):
            yield type, id
        for child in value.values():
            if isinstance(child, dict | list):
                yield from references(child, base)


def members(group: Version, milliseconds: int, base: str, find: Find) -> frozenset[str]:
    """Ids of the patients who were members of a Group at some time, also of Groups that are members of it."""
    found: set[str] = set()
    seen: set[str] = set()
    level = [group]
    for _ in range(_DEPTH):
        inner: list[Version] = []
        for each in level:
            seen.add(each.id)
            for type, id in _members(each, milliseconds, base):
                if type == "Patient":
                    found.add(id)
                elif type == "Group" and id not in seen and (nested := find("Group", id)):
                    inner.append(nested)
        level = [each for each in inner if not each.deleted]
    return frozenset(found)


def _members(group: Version, milliseconds: int, base: str) -> Iterator[tuple[str, str]]:
    if group.deleted:
        return
    listed = _sound(group).get("member", [])
    for member in listed if isinstance(listed, list) else ():
        if not isinstance(member, dict) or member.get("inactive") is True:
            continue
        period = member.get("period")
        end = time_meant(str(period.get("end", ""))) if isinstance(period, dict) else None
        if end is None or end.high > milliseconds * 1000:
            yield _named(member.get("entity"), base)


def require_members(group: Version) -> None:
    """Raise Unsupported for a Group that says what its members are like, and not who they are."""
    data = group.data
    if data.get("actual") is not True and not data.get("member"):
        raise Unsupported(
            f"Group/{group.id} says by characteristics who belongs to it, which is not evaluated here;"
            " export a Group that lists its members."
        )

"""What the security labels of a resource keep from whom, as bits of one number in its row (`labels`).

The number is made whenever the rows of the search index are. Until then, and in a resource that is deleted,
it has all bits: what is unknown is restricted most.
https://terminology.hl7.org/CodeSystem-v3-ActCode.html, https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fhir_coprod.jsontext import Json
from fhir_coprod.readable import readable

ALL: Final = 2**31 - 1
"""The number of a resource that nobody has looked at yet."""
UNREADABLE: Final = 1 << 0
"""It has a label that nobody can read, so nobody can tell what the label was to say."""
OF_REFERRAL: Final = 1 << 1
"""A DetectedIssue that implicates a ServiceRequest or a Task. No label: only whoever sees that sees this."""

PATIENTS: Final = 1 << 20
"""From this bit on stands how many references to Patients it has, as far as eight bits can say: whoever may
not see what is about one of them has to find all of them in the index."""
MOST_PATIENTS: Final = 255
SAID: Final = PATIENTS - 1
"""The bits of what it says, without that number."""

_SYSTEMS: Final = frozenset(
    {
        "",  # without a system it has no meaning, and was surely not meant to open anything
        "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "http://terminology.hl7.org/CodeSystem/v3-Confidentiality",
    }
)
_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "R": ("R",),
    "V": ("V",),
    "SEX": ("SEX", "MST", "STD", "PREGNANT"),
    "PSY": ("PSY", "PSYTHPN", "BH", "MH"),
    "SDV": ("SDV", "VIO"),
    "HIV": ("HIV",),
    "ETH": ("ETH", "SUD", "ETHUD", "OPIOIDUD"),
    "NOPAT": ("NOPAT", "TBOO"),
    "NOAUTH": ("NOAUTH",),
}
"""Each label that callers may be cleared for, with the codes of HL7 that are about the same."""
BITS: Final[Mapping[str, int]] = {name: 1 << number for number, name in enumerate(_FAMILIES, 8)}
_OF_CODE: Final = {code: BITS[name] for name, codes in _FAMILIES.items() for code in codes}


def mask(names: Iterable[str]) -> int:
    """The bits of these labels."""
    found = 0
    for name in names:
        found |= BITS[name]
    return found


NOT_FOR_PATIENTS: Final = mask(("NOPAT", "NOAUTH")) | UNREADABLE
"""Kept from the patient until a person releases it: alerts, private-moment requests, life stories."""
NOT_FOR_PROXIES: Final = NOT_FOR_PATIENTS | mask(("R", "V", "SEX", "PSY", "SDV", "HIV", "ETH"))
NOT_FOR_STAFF: Final = mask(("V", "NOAUTH")) | UNREADABLE


def labels(type: str, data: Json) -> int:
    """The number of one resource."""
    found = OF_REFERRAL if type == "DetectedIssue" and _is_about_referral(data) else 0
    if "meta" not in data:
        return found
    meta = data["meta"]
    if not isinstance(meta, dict):
        return found | UNREADABLE
    if "security" not in meta and "_security" not in meta:
        return found
    read = readable({"resourceType": type, "meta": {"security": meta.get("security")}})
    if read.unreadable:
        found |= UNREADABLE
    for label in (read.data.get("meta") or {}).get("security") or ():
        if label.get("system", "") in _SYSTEMS:
            found |= _OF_CODE.get(label.get("code", ""), 0)
    return found


def _is_about_referral(data: Json) -> bool:
    """Also where what it implicates cannot be told."""
    if "implicated" not in data:
        return False
    implicated = data["implicated"]
    if not isinstance(implicated, list):
        return True
    return any(_may_be_referral(each) for each in implicated)


def _may_be_referral(reference: object) -> bool:
    if not isinstance(reference, dict):
        return True
    said = reference.get("reference")
    if said is None:
        return reference.get("type") in (None, "ServiceRequest", "Task") and "identifier" in reference
    return not isinstance(said, str) or "ServiceRequest" in said or "Task" in said

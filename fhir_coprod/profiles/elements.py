"""Small R4 elements from plain words, codes and references, for the constructors of the profile classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.reference import Reference

from fhir_coprod.definitions import CANONICAL, is_resource_type
from fhir_coprod.errors import InvalidResource

LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOAUTH"}
"""Security label: patient and staff only, unless the patient says otherwise."""

_RELATIVE = re.compile(r"([A-Z][A-Za-z]+)(?:/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?|\?\S+)")
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+|#[A-Za-z0-9\-.]{0,64}")


def reference(to: str | Reference) -> Reference:
    """A Reference to `Type/id`, an absolute address or a contained `#id`; a Reference is returned unchanged.

    Raises InvalidResource for text that is none of these.
    """
    return to if isinstance(to, Reference) else Reference(reference=target(to))


def references(to: Iterable[str]) -> list[Reference] | None:
    """A Reference to each; None for none: FHIR allows no empty lists."""
    return [reference(each) for each in to] or None


def target(to: str) -> str:
    """The same text, if it can be the target of a reference (https://hl7.org/fhir/R4/references.html#literal).

    Raises InvalidResource.
    """
    relative = _RELATIVE.fullmatch(to)
    if (relative is None or not is_resource_type(relative[1])) and _ELSEWHERE.fullmatch(to) is None:
        raise InvalidResource(
            "A reference names a type of R4 and an id (Patient/1), an absolute address (https://…, "
            "urn:uuid:…) or something contained (#1); this one does none of that."
        )
    return to


def referred(element: Reference | None) -> str:
    """The target that a Reference names; "" when it names none."""
    return (element.reference or "") if element else ""


def concept(what: str | CodeableConcept) -> CodeableConcept:
    """Plain words as the text of a concept; a concept is returned unchanged."""
    return CodeableConcept(text=what) if isinstance(what, str) else what


def coded(system: str, code: str | CodeableConcept) -> CodeableConcept:
    """A code of a code system: an address, or the id of one of ours. A concept is returned unchanged."""
    if isinstance(code, CodeableConcept):
        return code
    url = system if ":" in system else f"{CANONICAL}/CodeSystem/{system}"
    return CodeableConcept(coding=[Coding(system=url, code=code)])


def code_in(found: CodeableConcept | None) -> str:
    """The code of the first coding; "" when there is none."""
    coding = (found.coding or []) if found else []
    return (coding[0].code or "") if coding else ""


def note(words: str | None, author: str | None = None) -> list[dict[str, Any]] | None:
    """Words as an Annotation, with who said or wrote them."""
    if words is None:
        return None
    return [{"text": words} | ({"authorReference": reference(author)} if author else {})]


def period(start: str | None, end: str | None) -> dict[str, str] | None:
    """A Period with what is known of it; None if nothing is."""
    known = {name: time for name, time in (("start", start), ("end", end)) if time}
    return known or None


def languages(codes: Iterable[str]) -> list[dict[str, Any]] | None:
    """Languages (BCP 47) to speak with somebody, the preferred one first."""
    return [
        {"language": coded("urn:ietf:bcp:47", code)} | ({"preferred": True} if place == 0 else {})
        for place, code in enumerate(codes)
    ] or None

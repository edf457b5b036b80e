"""Compares values with what a definition states: a fixed value, a pattern, or a value set."""

from __future__ import annotations

from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.validation.model.codes import is_defined


def equal(value: object, fixed: object) -> bool:
    """Whether the value is exactly the fixed value; true is not 1."""
    if isinstance(fixed, dict):
        return (
            isinstance(value, dict)
            and value.keys() == fixed.keys()
            and all(equal(value[key], part) for key, part in fixed.items())
        )
    if isinstance(fixed, list):
        return (
            isinstance(value, list)
            and len(value) == len(fixed)
            and all(equal(one, other) for one, other in zip(value, fixed, strict=True))
        )
    if isinstance(fixed, bool) or isinstance(value, bool):
        return value is fixed
    return value == fixed


def has_pattern(value: object, pattern: object) -> bool:
    """Whether the value has at least what the pattern states: all its members, and each item of its lists."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and has_pattern(value[key], part) for key, part in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(has_pattern(item, part) for item in value) for part in pattern
        )
    return equal(value, pattern)


def is_member(value: object, type_: str, codes: ValueSet) -> bool | None:
    """Whether a coded value belongs to a value set; None when that cannot be decided offline.

    value: a code, uri or string, a Coding, CodeableConcept or Quantity. A CodeableConcept belongs when one
    of its codings does, and one without codings does not.
    """
    if isinstance(value, str):
        return _code(value, codes)
    if not isinstance(value, dict):
        return None
    if "coding" not in value:
        return _coding(value, codes) if "code" in value else False
    codings = value["coding"]
    if not isinstance(codings, list):
        return None
    answers = [_coding(coding, codes) for coding in codings if isinstance(coding, dict)]
    if True in answers:
        return True
    return None if None in answers else False


def has_code(value: object) -> bool:
    """Whether a coded value has a code at all, and not only text and systems."""
    if not isinstance(value, dict):
        return True
    codings = value.get("coding", [value])
    return isinstance(codings, list) and any(isinstance(c, dict) and "code" in c for c in codings)


def _code(code: str, codes: ValueSet) -> bool | None:
    """Look up a code without a system: it takes the system of the value set, if that has only one."""
    listed = codes.allows_code(code)
    if listed is None and codes.known and len(codes.open_systems) == 1:
        (system,) = codes.open_systems
        return False if is_defined(system, code) is False else None
    return listed


def _coding(coding: dict[str, object], codes: ValueSet) -> bool | None:
    code, system = coding.get("code"), coding.get("system")
    if not isinstance(code, str):
        return False
    if not isinstance(system, str):
        return False if codes.known else None
    listed = codes.allows(system, code)
    if listed is None and codes.known:
        return False if is_defined(system, code) is False else None
    return listed

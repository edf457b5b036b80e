"""Comparing values with what a definition states: fixed, pattern, value set."""

from __future__ import annotations

from collections.abc import Callable

from fhir_coprod.definitions.terminology import ValueSet


def equal(value: object, fixed: object) -> bool:
    """Exactly the fixed value; true is not 1."""
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
    """At least what the pattern states: each of its members, each of its list items somewhere in the list."""
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

    value: a code, uri or string, a Coding, CodeableConcept or Quantity. A CodeableConcept belongs when one of its
    codings does; one without codings does not.
    """
    if isinstance(value, str):
        return codes.allows_code(value)
    if not isinstance(value, dict):
        return None
    if "coding" not in value:
        if "code" not in value:
            return False
        return _coding(value, codes)
    codings = value["coding"]
    if not isinstance(codings, list):
        return None
    answers = [_coding(coding, codes) for coding in codings if isinstance(coding, dict)]
    if True in answers:
        return True
    return None if None in answers else False


def _coding(coding: dict[str, object], codes: ValueSet) -> bool | None:
    code, system = coding.get("code"), coding.get("system")
    if not isinstance(code, str):
        return False
    if not isinstance(system, str):
        return False if codes.known else None
    return codes.allows(system, code)


def is_undefined(coding: object, code_system: Callable[[str], frozenset[str] | None]) -> bool:
    """Whether a Coding names a code that its code system, held completely, does not have."""
    if not isinstance(coding, dict):
        return False
    code, system = coding.get("code"), coding.get("system")
    if not isinstance(code, str) or not isinstance(system, str):
        return False
    held = code_system(system)
    return held is not None and code not in held

"""Rules of R4 that are wrong as published, and what they were corrected to afterwards."""

from __future__ import annotations

_BY_EXPRESSION = {
    # que-7: FHIR's type is boolean; Boolean is FHIRPath's own, which an answer never has.
    "operator = 'exists' implies (answer is Boolean)": "operator = 'exists' implies (answer is boolean)",
}


def corrected(expression: str, key: str) -> str:
    """The expression that is meant."""
    if key == "txt-2" and expression == "htmlChecks()":
        return "htmlChecks2()"
    return _BY_EXPRESSION.get(expression, expression)

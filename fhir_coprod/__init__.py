"""fhir-coprod: the shared part of care as FHIR R4, beside the EHRs.

from fhir_coprod import validate
outcome = validate(resource)        # truthy when nothing in it is an error
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir_coprod.validation import validate

__all__ = ["validate"]


def __getattr__(name: str) -> object:
    """`validate` on first use: importing the package alone stays free of cost."""
    if name == "validate":
        from fhir_coprod.validation import validate

        return validate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Validation: any StructureDefinition compiled to a fast yes and an explaining no (see `validate`)."""

from fhir_coprod.validation.validator import (
    Validator,
    validate,
    validate_document,
    validate_to_store,
)

__all__ = ["Validator", "validate", "validate_document", "validate_to_store"]

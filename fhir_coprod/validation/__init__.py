"""Validates FHIR resources: any StructureDefinition compiles to a fast check and an explaining one."""

from fhir_coprod.validation.validator import (
    Validator,
    is_part,
    validate,
    validate_document,
    validate_to_store,
)

__all__ = ["Validator", "is_part", "validate", "validate_document", "validate_to_store"]

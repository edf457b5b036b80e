"""FHIR's interactions, one module for each kind."""

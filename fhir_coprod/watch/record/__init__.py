"""Reads what is known about a referral and its patient from FHIR resources."""

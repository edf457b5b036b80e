"""Makes alerts and follow-ups as FHIR resources, and keeps them in step with the stalls."""

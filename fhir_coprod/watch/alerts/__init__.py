"""What the watch writes: alerts and follow-ups as FHIR resources, kept in step with what stalls."""

"""What is known of a referral and its patient, read from FHIR."""

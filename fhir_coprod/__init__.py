"""fhir-coprod: the shared part of care as FHIR R4, beside the EHRs."""

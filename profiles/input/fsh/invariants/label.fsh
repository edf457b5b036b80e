Invariant: coprod-label-1
Description: "It carries a visibility label that keeps it out of other scopes until a person releases it."
Severity: #error
Expression: "meta.security.where(system = 'https://fhir-coprod.org/ig/CodeSystem/visibility').exists()"

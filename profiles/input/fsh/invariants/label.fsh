Invariant: coprod-label-1
Description: "It carries a label (meta.security NOPAT or NOAUTH) that keeps it out of other scopes until a person releases it."
Severity: #error
Expression: "meta.security.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ActCode' and (code = 'NOPAT' or code = 'NOAUTH')).exists()"

Profile: FamilyMember
Parent: FamilyMemberHistory
Id: family-member
Title: "Member of the family tree"
Description: "A relative, living or dead, what they had, and what that means to the patient (note). A link to the relative's own record needs a security label."
* ^purpose = "Status: completed or partial: whoever draws the tree with the patient. Source: The family tree and the role of each in the patient's life (migrant clinic, Denmark)."
* status MS
* patient MS
* name MS
* relationship MS
* deceased[x] MS
* condition MS
* note MS
* extension contains $patient-record named record 0..1 MS
* obeys coprod-family-1

Invariant: coprod-family-1
Description: "A link to a relative's record carries a label (meta.security NOPAT or NOAUTH)."
Severity: #error
Expression: "extension.where(url = 'http://hl7.org/fhir/StructureDefinition/familymemberhistory-patient-record').exists() implies meta.security.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ActCode' and (code = 'NOPAT' or code = 'NOAUTH')).exists()"

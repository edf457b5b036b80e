Extension: AgencyExtension
Id: agency
Title: "Who leads"
Description: "Who takes the lead here, who judged that, and whether the patient sees it the same way."
Context: Task, Goal
* extension contains
    level 1..1 and
    judgedBy 1..1 and
    judged 0..1 and
    patientConfirmed 0..1
* extension[level] ^short = "patient-led | shared | professional-led"
* extension[level].value[x] 1..1
* extension[level].value[x] only code
* extension[level].valueCode from AgencyCodes (required)
* extension[judgedBy] ^short = "Who says so"
* extension[judgedBy].value[x] 1..1
* extension[judgedBy].value[x] only Reference(Patient or RelatedPerson or Practitioner or PractitionerRole)
* extension[judged] ^short = "When"
* extension[judged].value[x] 1..1
* extension[judged].value[x] only dateTime
* extension[patientConfirmed] ^short = "Whether the patient sees it the same way; absent: not asked"
* extension[patientConfirmed].value[x] 1..1
* extension[patientConfirmed].value[x] only boolean

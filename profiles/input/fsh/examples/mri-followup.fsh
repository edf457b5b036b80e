Instance: mri-followup
InstanceOf: StallFollowup
Usage: #example
Title: "Somebody finds the referral again"
* meta.security = $v3-ActCode#NOPAT
* identifier.system = "https://fhir-coprod.org/ig/follow-up"
* identifier.value = "mri-referral/sent"
* status = #completed
* intent = #order
* priority = #routine
* code = TaskKind#stall-followup
* description = "Find out whether Imaging has the referral of 14 January, and tell the patient."
* businessStatus = ReferralStage#sent
* focus = Reference(mri-referral)
* for = Reference(amina)
* authoredOn = "2026-01-22T00:00:00+01:00"
* lastModified = "2026-01-23T10:12:00+01:00"
* requester = Reference(referral-watch)
* owner = Reference(county-imaging)
* reasonReference = Reference(mri-stall)
* restriction.period.end = "2026-01-26T17:00:00+01:00"
* input.type.text = "Stall"
* input.valueReference = Reference(mri-stall)
* extension[standing].extension[stage].valueCode = #sent
* extension[standing].extension[since].valueDateTime = "2026-01-14T08:05:00+01:00"
* extension[standing].extension[due].valueDateTime = "2026-01-22T00:00:00+01:00"
* extension[standing].extension[owner].valueReference = Reference(county-imaging)
* extension[standing].extension[patientInformed].valueBoolean = false
* extension[standing].extension[policy].valueString = "default|2026.1"

Instance: surgery-followup
InstanceOf: StallFollowup
Usage: #example
Title: "Somebody books the visit"
* meta.security = $v3-ActCode#NOPAT
* identifier.system = "https://fhir-coprod.org/ig/follow-up"
* identifier.value = "surgery-referral/accepted"
* status = #requested
* intent = #order
* priority = #routine
* code = TaskKind#stall-followup
* description = "Book the visit that was accepted on 13 February, or say when it can be."
* businessStatus = ReferralStage#accepted
* focus = Reference(surgery-referral)
* for = Reference(amina)
* authoredOn = "2026-02-28T00:00:00+01:00"
* lastModified = "2026-02-28T00:00:00+01:00"
* requester = Reference(referral-watch)
* owner = Reference(county-spine)
* reasonReference = Reference(surgery-stall)
* restriction.period.end = "2026-03-04T17:00:00+01:00"
* input.type.text = "Stall"
* input.valueReference = Reference(surgery-stall)
* extension[standing].extension[stage].valueCode = #accepted
* extension[standing].extension[since].valueDateTime = "2026-02-13T09:00:00+01:00"
* extension[standing].extension[due].valueDateTime = "2026-02-28T00:00:00+01:00"
* extension[standing].extension[guarantee].valueDateTime = "2026-05-14T00:00:00+02:00"
* extension[standing].extension[owner].valueReference = Reference(county-spine)
* extension[standing].extension[patientInformed].valueBoolean = true
* extension[standing].extension[policy].valueString = "se-vardgaranti|2026.1"

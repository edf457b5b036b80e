Instance: surgery-stall
InstanceOf: StalledReferral
Usage: #example
Title: "Accepted by spine surgery, nothing booked; stands"
* meta.security = $v3-ActCode#NOPAT
* identifier.system = "https://fhir-coprod.org/ig/stall"
* identifier.value = "surgery-referral/unscheduled/2026-02-13T08:00:00Z"
* status = #preliminary
* code = StallRule#unscheduled
* severity = #moderate
* patient = Reference(amina)
* identifiedDateTime = "2026-02-28T00:00:00+01:00"
* author = Reference(referral-watch)
* implicated[0] = Reference(surgery-referral)
* implicated[+] = Reference(surgery-task)
* detail = "Missing: a booked appointment. Accepted on 13 February 2026, due by 27 February. Spine Surgery can move it. The patient was last told on 13 February."
* extension[standing].extension[stage].valueCode = #accepted
* extension[standing].extension[since].valueDateTime = "2026-02-13T09:00:00+01:00"
* extension[standing].extension[due].valueDateTime = "2026-02-28T00:00:00+01:00"
* extension[standing].extension[guarantee].valueDateTime = "2026-05-14T00:00:00+02:00"
* extension[standing].extension[owner].valueReference = Reference(county-spine)
* extension[standing].extension[patientInformed].valueBoolean = true
* extension[standing].extension[policy].valueString = "se-vardgaranti|2026.1"

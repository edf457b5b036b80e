Instance: amina-walks
InstanceOf: PatientTask
Usage: #example
Title: "Amina walks a little each day"
* basedOn[0] = Reference(amina-plan-proposal)
* basedOn[+] = Reference(amina-plan)
* status = #in-progress
* intent = #plan
* code = TaskKind#plan-activity
* description = "I walk to the school and back each day, with a rest on the bench, and stop when the leg says so."
* for = Reference(amina)
* authoredOn = "2026-01-13T11:15:00+01:00"
* lastModified = "2026-04-20T18:00:00+02:00"
* requester = Reference(amina)
* owner = Reference(amina)
* restriction.period.end = "2026-08-31"
* extension[goal].valueReference = Reference(amina-goal-stand)
* extension[agency].extension[level].valueCode = #patient-led
* extension[agency].extension[judgedBy].valueReference = Reference(amina)
* extension[agency].extension[patientConfirmed].valueBoolean = true

Instance: rania-runs-the-bakery
InstanceOf: PatientTask
Usage: #example
Title: "Rania keeps the bakery open"
* basedOn = Reference(amina-plan)
* status = #accepted
* intent = #plan
* code = TaskKind#plan-activity
* description = "Rania keeps the bakery open in the mornings while Amina is on sick leave."
* for = Reference(amina)
* authoredOn = "2026-03-16T14:00:00+01:00"
* requester = Reference(amina)
* owner = Reference(rania)
* restriction.period.start = "2026-04-14"
* restriction.period.end = "2026-05-26"
* extension[goal].valueReference = Reference(amina-goal-stand)
* extension[agency].extension[level].valueCode = #patient-led
* extension[agency].extension[judgedBy].valueReference = Reference(amina)
* extension[agency].extension[patientConfirmed].valueBoolean = true

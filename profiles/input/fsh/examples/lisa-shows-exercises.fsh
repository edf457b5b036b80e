Instance: lisa-shows-exercises
InstanceOf: PlanTask
Usage: #example
Title: "The physiotherapist shows the exercises"
* basedOn = Reference(amina-plan)
* status = #completed
* intent = #plan
* code = TaskKind#plan-activity
* description = "Lisa shows Amina the exercises the day after the operation and gives her the sheet in Arabic."
* for = Reference(amina)
* executionPeriod.start = "2026-04-15T13:00:00+02:00"
* executionPeriod.end = "2026-04-15T13:40:00+02:00"
* authoredOn = "2026-03-16T14:00:00+01:00"
* lastModified = "2026-04-15T13:45:00+02:00"
* requester = Reference(omar-nyberg-role)
* owner = Reference(lisa-ek-role)
* restriction.period.end = "2026-04-16"
* extension[goal].valueReference = Reference(amina-goal-stand)
* extension[agency].extension[level].valueCode = #shared
* extension[agency].extension[judgedBy].valueReference = Reference(lisa-ek-role)
* extension[agency].extension[patientConfirmed].valueBoolean = true

Instance: karin-arranges-sick-pay
InstanceOf: PlanTask
Usage: #example
Title: "The caseworker arranges sick pay"
* basedOn = Reference(amina-plan)
* status = #completed
* intent = #plan
* code = TaskKind#plan-activity
* description = "Karin sees to it that sick pay starts on the day of the operation."
* for = Reference(amina)
* authoredOn = "2026-03-20T09:50:00+01:00"
* lastModified = "2026-04-10T16:00:00+02:00"
* requester = Reference(amina)
* owner = Reference(karin-sand-role)
* restriction.period.end = "2026-04-10"

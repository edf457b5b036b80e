Instance: amina-goal-not-worse
InstanceOf: CoproductionGoal
Usage: #example
Title: "Not getting worse"
* lifecycleStatus = #active
* description.text = "I just do not want it to get worse."
* subject = Reference(amina)
* startDate = "2026-01-13"
* expressedBy = Reference(amina)
* extension[acceptance].extension[individual].valueReference = Reference(amina)
* extension[acceptance].extension[status].valueCode = #agree

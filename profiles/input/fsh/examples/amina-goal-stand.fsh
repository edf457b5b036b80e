Instance: amina-goal-stand
InstanceOf: CoproductionGoal
Usage: #example
Title: "To stand a whole morning in the bakery"
* lifecycleStatus = #active
* achievementStatus = $goal-achievement#improving
* description.text = "I want to stand a whole morning in the bakery again."
* subject = Reference(amina)
* startDate = "2026-01-13"
* target.measure.text = "Hours on her feet without having to sit down"
* target.detailString = "Four hours on her feet, three days running"
* target.dueDate = "2026-08-01"
* expressedBy = Reference(amina)
* addresses = Reference(concern-pain)
* note.authorReference = Reference(eva-lind)
* note.time = "2026-01-13T10:40:00+01:00"
* note.text = "Neurogenic claudication; walking distance about 200 m."
* extension[acceptance][0].extension[individual].valueReference = Reference(amina)
* extension[acceptance][=].extension[status].valueCode = #agree
* extension[acceptance][=].extension[priority].valueCodeableConcept = http://terminology.hl7.org/CodeSystem/goal-priority#high-priority
* extension[acceptance][+].extension[individual].valueReference = Reference(eva-lind)
* extension[acceptance][=].extension[status].valueCode = #agree
* extension[acceptance][=].extension[priority].valueCodeableConcept = http://terminology.hl7.org/CodeSystem/goal-priority#medium-priority
* extension[agency].extension[level].valueCode = #patient-led
* extension[agency].extension[judgedBy].valueReference = Reference(sara-holm-role)
* extension[agency].extension[judged].valueDateTime = "2026-01-13"
* extension[agency].extension[patientConfirmed].valueBoolean = true

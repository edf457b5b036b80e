Instance: concern-work
InstanceOf: PatientConcern
Usage: #example
Title: "If I cannot stand I lose the bakery, and there is nobody but me for the children."
* clinicalStatus = $condition-clinical#active
* category[concern] = ConcernCategory#health-concern
* category[1] = ConcernCategory#everyday-life
* code.text = "If I cannot stand I lose the bakery, and there is nobody but me for the children."
* subject = Reference(amina)
* recordedDate = "2026-01-13"
* recorder = Reference(sara-holm-role)
* asserter = Reference(amina)

Instance: concern-fear
InstanceOf: PatientConcern
Usage: #example
Title: "I am afraid of lying in that tube. My father died during an examination."
* clinicalStatus = $condition-clinical#active
* category[concern] = ConcernCategory#health-concern
* category[1] = ConcernCategory#fear
* code.text = "I am afraid of lying in that tube. My father died during an examination."
* subject = Reference(amina)
* recordedDate = "2026-01-13"
* recorder = Reference(sara-holm-role)
* asserter = Reference(amina)

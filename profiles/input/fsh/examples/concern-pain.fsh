Instance: concern-pain
InstanceOf: PatientConcern
Usage: #example
Title: "The pain goes down my left leg like fire when I stand at the oven."
* clinicalStatus = $condition-clinical#active
* category[concern] = ConcernCategory#health-concern
* code.text = "The pain goes down my left leg like fire when I stand at the oven."
* subject = Reference(amina)
* recordedDate = "2026-01-13"
* recorder = Reference(sara-holm-role)
* asserter = Reference(amina)

Profile: PatientConcern
Parent: Condition
Id: patient-concern
Title: "Concern in the patient's own words"
Description: "One thing that troubles the patient, verbatim. It is not a diagnosis; where one explains it, that is a Condition of its own, named in evidence."
* ^purpose = "Status: clinicalStatus: active until the patient says that it troubles them no more. Source: The problem list that the patient writes (migrant clinic, Denmark)."
* clinicalStatus MS
* category ^slicing.discriminator.type = #pattern
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains concern 1..1 MS
* category[concern] = ConcernCategory#health-concern
* code 1..1 MS
* code.text 1..1 MS
* code.text ^short = "Verbatim, as the patient said or wrote it"
* subject only Reference(Patient)
* subject MS
* recordedDate MS
* recorder MS
* asserter 1..1 MS
* asserter only Reference(Patient or RelatedPerson)
* evidence MS
* note MS

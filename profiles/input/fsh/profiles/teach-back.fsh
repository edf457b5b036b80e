Profile: TeachBack
Parent: Observation
Id: teach-back
Title: "Teach-back"
Description: "Whether what was explained could be said back in the person's own words. It tests the explanation, not the person; note holds the words."
* ^purpose = "Status: final: the professional who explained. Source: The doctor re-explains in simple words (migrant clinic, Denmark); 'describe to me' (spinal surgery, Sweden)."
* status MS
* code = CoproductionObservation#teach-back
* code MS
* subject 1..1 MS
* subject only Reference(Patient)
* focus 1..* MS
* focus only Reference(Communication or DocumentReference or ServiceRequest or CarePlan)
* effective[x] 1..1 MS
* effective[x] only dateTime
* performer 1..* MS
* value[x] 1..1 MS
* value[x] only CodeableConcept
* valueCodeableConcept from TeachBackResultCodes (required)
* note MS

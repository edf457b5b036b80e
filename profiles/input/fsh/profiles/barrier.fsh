Profile: Barrier
Parent: Observation
Id: barrier
Title: "Barrier to a goal"
Description: "What stands in the way of a goal, coded where possible and in the person's own words in note."
* ^purpose = "Status: final: whoever hears of it. cancelled when it is gone. Source: Fear behind a reluctance to be examined (migrant clinic, Denmark)."
* status MS
* code = CoproductionObservation#barrier
* code MS
* subject 1..1 MS
* subject only Reference(Patient)
* focus 1..* MS
* focus only Reference(Goal)
* effective[x] 1..1 MS
* performer MS
* value[x] 1..1 MS
* value[x] only CodeableConcept
* valueCodeableConcept from BarrierKindCodes (extensible)
* note MS

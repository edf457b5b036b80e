Extension: PlanStatusReasonExtension
Id: plan-status-reason
Title: "Why the plan has its status"
Description: "R4 gives CarePlan no statusReason. A plan may stay a draft while the patient thinks; this says that it does."
Context: CarePlan
* value[x] 1..1
* value[x] only CodeableConcept
* valueCodeableConcept from PlanStatusReasonCodes (extensible)

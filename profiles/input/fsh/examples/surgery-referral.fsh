Instance: surgery-referral
InstanceOf: CoproductionServiceRequest
Usage: #example
Title: "Referral to spine surgery"
* identifier.system = "https://example.org/referral"
* identifier.value = "BH-2026-0212"
* status = #active
* intent = #order
* priority = #routine
* code = $SCT#183545006 "Referral to orthopedic service"
* subject = Reference(amina)
* authoredOn = "2026-02-12T10:40:00+01:00"
* requester = Reference(eva-lind-role)
* performer = Reference(county-spine)
* reasonCode.text = "Central stenosis L4-L5, walks 200 m, work at risk"
* supportingInfo = Reference(mri-report)
* patientInstruction = "A surgeon talks with you about what can be done, and what happens if nothing is done. You decide, and there is no hurry."
* extension[goal].valueReference = Reference(amina-goal-stand)
* extension[accommodation][0].extension[kind].valueCodeableConcept = AccommodationKind#fear-of-examination
* extension[accommodation][=].extension[why].valueString = "I am afraid of lying in that tube. My father died during an examination."
* extension[accommodation][=].extension[extraTime].valueDuration = 30 'min' "min"
* extension[accommodation][=].extension[agreedBy][0].valueReference = Reference(amina)
* extension[accommodation][=].extension[agreedBy][+].valueReference = Reference(omar-nyberg-role)
* extension[accommodation][=].extension[agreed].valueDateTime = "2026-02-13"
* extension[accommodation][+].extension[kind].valueCodeableConcept = AccommodationKind#interpreter

Instance: mri-referral
InstanceOf: CoproductionServiceRequest
Usage: #example
Title: "Referral to imaging"
* identifier.system = "https://example.org/referral"
* identifier.value = "BH-2026-0117"
* basedOn = Reference(amina-asks-for-mri)
* status = #completed
* intent = #order
* priority = #routine
* code = $SCT#241648009 "Magnetic resonance imaging of lumbar spine"
* subject = Reference(amina)
* authoredOn = "2026-01-13T11:20:00+01:00"
* requester = Reference(eva-lind-role)
* performer = Reference(county-imaging)
* reasonCode.text = "Pain and numbness in the left leg on standing and walking for two years; narrow spinal canal?"
* reasonReference = Reference(concern-pain)
* patientInstruction = "They take pictures of your back to see whether something presses on the nerve. You lie still in a tube for about 25 minutes. You can stop at any time."
* extension[goal].valueReference = Reference(amina-goal-stand)
* extension[accommodation][0].extension[kind].valueCodeableConcept = AccommodationKind#fear-of-examination
* extension[accommodation][=].extension[why].valueString = "I am afraid of lying in that tube. My father died during an examination."
* extension[accommodation][=].extension[extraTime].valueDuration = 30 'min' "min"
* extension[accommodation][=].extension[agreedBy][0].valueReference = Reference(amina)
* extension[accommodation][=].extension[agreedBy][+].valueReference = Reference(eva-lind-role)
* extension[accommodation][=].extension[agreed].valueDateTime = "2026-01-13"
* extension[accommodation][+].extension[kind].valueCodeableConcept = AccommodationKind#interpreter

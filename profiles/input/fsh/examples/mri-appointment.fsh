Instance: mri-appointment
InstanceOf: CoproductionAppointment
Usage: #example
Title: "The examination"
* status = #fulfilled
* basedOn = Reference(mri-referral)
* description = "MRI of the lower back, with interpreter"
* start = "2026-02-05T13:00:00+01:00"
* end = "2026-02-05T14:00:00+01:00"
* minutesDuration = 60
* created = "2026-01-23T13:15:00+01:00"
* patientInstruction = "Come half an hour early and see the room first. Wear nothing with metal."
* participant[0].actor = Reference(amina)
* participant[=].status = #accepted
* participant[+].actor = Reference(rania)
* participant[=].status = #accepted
* participant[+].actor = Reference(yusuf-ali)
* participant[=].status = #accepted
* participant[+].actor = Reference(nadia-berg-role)
* participant[=].status = #accepted
* extension[accommodation].extension[kind].valueCodeableConcept = AccommodationKind#fear-of-examination
* extension[accommodation].extension[extraTime].valueDuration = 30 'min' "min"

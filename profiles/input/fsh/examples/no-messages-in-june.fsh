Instance: no-messages-in-june
InstanceOf: DoNotContact
Usage: #example
Title: "No messages for two weeks, at the patient's wish"
* status = #active
* doNotPerform = true
* subject = Reference(amina)
* about = Reference(surgery-referral)
* occurrencePeriod.start = "2026-06-10"
* occurrencePeriod.end = "2026-06-24"
* authoredOn = "2026-05-28T20:20:00+02:00"
* requester = Reference(amina)
* note.text = "I am with my aunt's family and do not want to be called or written to about this."

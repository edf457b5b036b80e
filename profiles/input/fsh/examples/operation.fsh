Instance: operation
InstanceOf: Procedure
Usage: #example
Title: "The operation"
* basedOn = Reference(surgery-referral)
* status = #completed
* code.text = "Decompression of the spinal canal, L4-L5"
* subject = Reference(amina)
* performedPeriod.start = "2026-04-14T08:30:00+02:00"
* performedPeriod.end = "2026-04-14T10:05:00+02:00"
* performer.actor = Reference(omar-nyberg-role)

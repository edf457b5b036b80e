Instance: amina-sick-leave
InstanceOf: EverydayLife
Usage: #example
Title: "Sick leave of Amina"
* status = #final
* category[social] = $observation-category#social-history
* code = CoproductionObservation#sick-leave
* subject = Reference(amina)
* effectiveDateTime = "2026-04-14"
* performer = Reference(omar-nyberg-role)
* valuePeriod.start = "2026-04-14"
* valuePeriod.end = "2026-05-26"

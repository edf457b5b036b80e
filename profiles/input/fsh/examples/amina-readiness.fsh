Instance: amina-readiness
InstanceOf: Readiness
Usage: #example
Title: "How sure Amina is of managing a walk every day"
* status = #final
* code = CoproductionObservation#confidence
* subject = Reference(amina)
* focus = Reference(amina-walks)
* effectiveDateTime = "2026-01-13"
* performer = Reference(amina)
* valueInteger = 7
* note.text = "If it is not icy."

Instance: told-result-teach-back
InstanceOf: TeachBack
Usage: #example
Title: "Amina says it in her own words"
* status = #final
* code = CoproductionObservation#teach-back
* subject = Reference(amina)
* focus = Reference(told-result)
* effectiveDateTime = "2026-02-12T10:25:00+01:00"
* performer = Reference(eva-lind-role)
* valueCodeableConcept = TeachBackResult#understood
* note.authorReference = Reference(amina)
* note.text = "The pipe is too tight for the nerve. When I lean on the trolley it opens."

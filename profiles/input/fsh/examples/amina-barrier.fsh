Instance: amina-barrier
InstanceOf: Barrier
Usage: #example
Title: "Fear of the tube stands in the way"
* status = #final
* code = CoproductionObservation#barrier
* subject = Reference(amina)
* focus = Reference(amina-goal-stand)
* effectiveDateTime = "2026-01-13"
* performer = Reference(amina)
* valueCodeableConcept = BarrierKind#fear
* note.authorReference = Reference(amina)
* note.text = "I cannot lie in the tube if nobody can get me out."

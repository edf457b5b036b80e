Instance: amina-work
InstanceOf: EverydayLife
Usage: #example
Title: "Work of Amina"
* status = #final
* category[social] = $observation-category#social-history
* code = CoproductionObservation#work
* subject = Reference(amina)
* effectiveDateTime = "2026-01-13"
* performer = Reference(amina)
* valueString = "Own bakery, on her feet from four in the morning; nobody to stand in."

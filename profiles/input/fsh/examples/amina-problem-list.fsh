Instance: amina-problem-list
InstanceOf: PatientProblemList
Usage: #example
Title: "What troubles Amina, the worst first"
* status = #current
* mode = #working
* title = "What troubles me"
* code = ListKind#patient-problem-list
* subject = Reference(amina)
* date = "2026-01-13T10:20:00+01:00"
* source = Reference(amina)
* orderedBy = $list-order#priority
* entry[0].item = Reference(concern-work)
* entry[+].item = Reference(concern-pain)
* entry[+].item = Reference(concern-fear)

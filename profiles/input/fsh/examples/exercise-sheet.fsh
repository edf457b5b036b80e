Instance: exercise-sheet
InstanceOf: WrittenInformation
Usage: #example
Title: "Exercises after the operation"
* status = #current
* docStatus = #final
* type = DocumentKind#instructions
* subject = Reference(amina)
* date = "2026-03-02T14:30:00+01:00"
* author = Reference(omar-nyberg-role)
* description = "What to do each day for the first six weeks"
* content.attachment.contentType = #text/plain
* content.attachment.language = #so
* content.attachment.title = "Exercises after the operation"
* content.attachment.data = "U29jbyBtYWFsaW4ga2FzdGEuIEhhIHFhYWRpbiB3YXggY3VsdXMgbGl4IHRvZGRvYmFhZC4="
* context.related = Reference(lisa-shows-exercises)

Instance: mri-leaflet
InstanceOf: WrittenInformation
Usage: #example
Title: "MRI of the lower back"
* status = #current
* docStatus = #final
* type = DocumentKind#written-information
* subject = Reference(amina)
* date = "2026-03-02T14:30:00+01:00"
* author = Reference(omar-nyberg-role)
* description = "What happens in the tube and how to prepare"
* content.attachment.contentType = #text/plain
* content.attachment.language = #so
* content.attachment.title = "MRI of the lower back"
* content.attachment.data = "V2F4YWFkIGppaWZzYW5heXNhYSB0dXViby4gV2FhZCBqb29qaW4ga2FydGFhIG1hciBrYXN0YS4="
* context.related = Reference(mri-appointment)

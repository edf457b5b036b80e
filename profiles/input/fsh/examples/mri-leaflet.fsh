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
* content.attachment.language = #ar
* content.attachment.title = "MRI of the lower back"
* content.attachment.data = "2KrYs9iq2YTZgtmK2YYg2LPYp9mD2YbYqSDZgdmKINij2YbYqNmI2Kgg2YbYrdmIIDI1INiv2YLZitmC2KkuINmF2LnZgyDYrNix2LPYjCDZiNmK2YXZg9mG2YMg2KfZhNiq2YjZgtmBINmB2Yog2KPZiiDZiNmC2KouINmK2YXZg9mGINmE2KPYrtiq2YMg2KPZhiDYqtio2YLZiSDZhdi52YMu"
* context.related = Reference(mri-appointment)

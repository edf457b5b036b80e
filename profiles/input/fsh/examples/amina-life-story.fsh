Instance: amina-life-story
InstanceOf: LifeStory
Usage: #example
Title: "What Amina told of her life"
* meta.security = $v3-ActCode#NOAUTH
* status = #current
* type = DocumentKind#life-story
* subject = Reference(amina)
* date = "2026-01-13T11:00:00+01:00"
* author = Reference(amina)
* description = "Told to the nurse through an interpreter, read back and approved"
* content.attachment.contentType = #text/plain
* content.attachment.language = #sv
* content.attachment.data = "SmFnIGhhciBiYWthdCBzZWRhbiBqYWcgdmFyIHRvbHYuIE1pbiBmYXIgZG9nIHVuZGVyIGVuIHVuZGVyc8O2a25pbmcu"

Instance: option-operation
InstanceOf: DecisionOption
Usage: #example
Title: "Operation that widens the canal"
* status = #current
* docStatus = #final
* type = DocumentKind#decision-option
* subject = Reference(amina)
* date = "2026-03-02T14:30:00+01:00"
* author = Reference(omar-nyberg-role)
* description = "Operation that widens the canal at L4-L5"
* content.attachment.contentType = #text/plain
* content.attachment.language = #en
* content.attachment.title = "Operation that widens the canal"
* content.attachment.data = "V2hhdDogdGhlIHN1cmdlb24gcmVtb3ZlcyBib25lIGFuZCBsaWdhbWVudCB0aGF0IHByZXNzIG9uIHRoZSBuZXJ2ZXMuIEJlbmVmaXQ6IGFib3V0IDcgaW4gMTAgd2FsayBmdXJ0aGVyIGFmdGVyIGEgeWVhci4gUmlzazogaW5mZWN0aW9uIGluIGFib3V0IDIgaW4gMTAwLCBhIHRlYXIgb2YgdGhlIGxpbmluZyBpbiBhYm91dCA1IGluIDEwMDsgc29tZSBhcmUgbm90IGhlbHBlZC4gRXhwZWN0OiBob21lIGFmdGVyIG9uZSBvciB0d28gZGF5cywgc2l4IHdlZWtzIHVudGlsIGhlYXZ5IHdvcmsuIENhdXNlOiB3ZWFyIGhhcyBtYWRlIHRoZSBjYW5hbCBuYXJyb3cu"

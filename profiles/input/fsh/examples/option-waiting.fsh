Instance: option-waiting
InstanceOf: DecisionOption
Usage: #example
Title: "Going on without an operation"
* status = #current
* docStatus = #final
* type = DocumentKind#decision-option
* subject = Reference(amina)
* date = "2026-03-02T14:30:00+01:00"
* author = Reference(omar-nyberg-role)
* description = "Walking, exercises and medicine, and another look in six months"
* content.attachment.contentType = #text/plain
* content.attachment.language = #en
* content.attachment.title = "Going on without an operation"
* content.attachment.data = "V2hhdDogZ28gb24gd2Fsa2luZyBhbmQgZXhlcmNpc2luZywgbWVkaWNpbmUgZm9yIHRoZSBwYWluLiBCZW5lZml0OiBubyByaXNrIG9mIGFuIG9wZXJhdGlvbjsgYWJvdXQgMyBpbiAxMCBhcmUgYmV0dGVyIGFmdGVyIHR3byB5ZWFycy4gUmlzazogaXQgbWF5IHN0YXkgYXMgaXQgaXMgb3Igc2xvd2x5IGdldCB3b3JzZS4gRXhwZWN0OiBhbm90aGVyIGxvb2sgaW4gc2l4IG1vbnRoczsgeW91IG1heSBjaG9vc2UgdGhlIG9wZXJhdGlvbiBsYXRlci4gQ2F1c2U6IHdlYXIgaGFzIG1hZGUgdGhlIGNhbmFsIG5hcnJvdy4="

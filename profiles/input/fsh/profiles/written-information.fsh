Profile: WrittenInformation
Parent: DocumentReference
Id: written-information
Title: "Written information for the patient"
Description: "What was said, in the patient's language and in plain words, to read again at home or to give to a relative. It reaches the patient through a Communication. That its language is the patient's is a rule of the store."
* ^purpose = "Status: docStatus final: its author, when it may be given out. Source: 'A paper with everything described is good' (spinal surgery, Sweden)."
* status MS
* docStatus MS
* type 1..1 MS
* type from WrittenInformationKind (required)
* subject MS
* subject only Reference(Patient)
* date MS
* author MS
* description 1..1 MS
* description ^short = "What it says, in a sentence"
* content.attachment.contentType 1..1 MS
* content.attachment.language 1..1 MS
* content.attachment.title 1..1 MS
* context.related MS
* context.related ^short = "The event it is about: it should come before that"
* obeys coprod-written-1

Invariant: coprod-written-1
Description: "The text can be had: it stands in the attachment or the attachment says where."
Severity: #error
Expression: "content.all(attachment.data.exists() or attachment.url.exists())"

Profile: CoproductionCommunication
Parent: Communication
Id: coproduction-communication
Title: "Communication in coproduction"
Description: "Something said or written between patient, relatives and professionals, or between departments about a patient: who to whom, when, about what, and why."
* ^purpose = "Status: completed: whoever sent it, when it was sent. not-done: whoever would have, with statusReason. received says only that it arrived. Source: Civil discourse; told what and why (spinal surgery, Sweden)."
* status MS
* statusReason MS
* subject 1..1 MS
* subject only Reference(Patient)
* topic MS
* topic from CommunicationTopicCodes (extensible)
* about MS
* about ^short = "The referral, Task, appointment, plan or result it is about"
* basedOn MS
* inResponseTo MS
* sent MS
* received MS
* recipient MS
* sender MS
* reasonCode MS
* reasonCode ^short = "Why"
* medium MS
* payload MS
* payload ^short = "The words themselves, or the written information"
* note MS
* extension contains CoproductionPhaseExtension named phase 0..1 MS
* obeys coprod-communication-1 and coprod-communication-2 and coprod-communication-3

Invariant: coprod-communication-1
Description: "A completed communication says who told whom, and when."
Severity: #error
Expression: "status = 'completed' implies sent.exists() and sender.exists() and recipient.exists()"

Invariant: coprod-communication-2
Description: "A communication that did not take place says why."
Severity: #error
Expression: "status = 'not-done' implies statusReason.exists()"

Invariant: coprod-communication-3
Description: "A communication should say what it is about: a topic, or the resource."
Severity: #warning
Expression: "topic.exists() or about.exists() or basedOn.exists()"

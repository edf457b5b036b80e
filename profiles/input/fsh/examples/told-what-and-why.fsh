Instance: told-what-and-why
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Amina is told what the referral is for"
* status = #completed
* topic = CommunicationTopic#referral-accepted
* subject = Reference(amina)
* about = Reference(surgery-referral)
* basedOn = Reference(surgery-referral)
* sent = "2026-02-13T11:00:00+01:00"
* sender = Reference(sara-holm-role)
* recipient = Reference(amina)
* reasonCode.text = "Walking and medicine have not helped for two years"
* medium = $participation-mode#PHONE
* payload.contentString = "Spine Surgery will see you. They talk with you about an operation and about going on without one. You hear the date from them within two weeks; if not, call me."

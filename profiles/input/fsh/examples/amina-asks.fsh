Instance: amina-asks
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Amina asks for an examination of her back"
* status = #completed
* category = $communication-category#notification
* topic = CommunicationTopic#referral-request
* subject = Reference(amina)
* sent = "2026-01-08T19:40:00+01:00"
* received = "2026-01-09T07:55:00+01:00"
* sender = Reference(amina)
* recipient = Reference(birch-health-centre)
* medium = $participation-mode#WRITTEN
* language = #sv
* payload.contentString = "I have been to you three times for my back. The pain goes down my left leg like fire when I stand at the oven. I want somebody to look inside it."
* extension[phase].valueCode = #co-assess

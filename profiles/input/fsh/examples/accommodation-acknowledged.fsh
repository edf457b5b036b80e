Instance: accommodation-acknowledged
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Somebody at imaging takes it on"
* status = #completed
* topic = CommunicationTopic#acknowledgement
* subject = Reference(amina)
* inResponseTo = Reference(accommodation-passed-on)
* about = Reference(mri-referral)
* sent = "2026-01-23T13:20:00+01:00"
* sender = Reference(nadia-berg-role)
* recipient = Reference(sara-holm-role)
* payload.contentString = "I am there that day myself. An hour is booked and she can see the room before."

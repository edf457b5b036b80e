Instance: about-the-service
InstanceOf: CoproductionCommunication
Usage: #example
Title: "What could be better"
* status = #completed
* topic = CommunicationTopic#service-feedback
* subject = Reference(amina)
* about = Reference(county-imaging)
* sent = "2026-05-28T20:10:00+02:00"
* sender = Reference(amina)
* recipient = Reference(county-imaging)
* payload.contentString = "Tell people on the day you get their paper. A text message is enough."

Instance: accommodation-passed-on
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Imaging is told what Amina needs"
* status = #completed
* topic = CommunicationTopic#accommodation
* subject = Reference(amina)
* about = Reference(mri-referral)
* sent = "2026-01-23T11:00:00+01:00"
* received = "2026-01-23T11:30:00+01:00"
* sender = Reference(sara-holm-role)
* recipient = Reference(county-imaging)
* medium = $participation-mode#WRITTEN
* payload.contentString = "Afraid of the tube, for a reason she will tell you if you ask kindly. Please book half an hour more, let her sister stay, and show her the bell first."

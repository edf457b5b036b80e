Instance: report-returned
InstanceOf: CoproductionCommunication
Usage: #example
Title: "The report reaches the one who asked"
* status = #completed
* topic = CommunicationTopic#report-to-requester
* subject = Reference(amina)
* about[0] = Reference(mri-report)
* about[+] = Reference(mri-referral)
* sent = "2026-02-09T15:00:00+01:00"
* received = "2026-02-09T15:00:05+01:00"
* sender = Reference(county-imaging)
* recipient = Reference(eva-lind-role)
* payload.contentReference = Reference(mri-report)

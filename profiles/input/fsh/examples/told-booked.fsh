Instance: told-booked
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Amina is told when and why"
* status = #completed
* topic = CommunicationTopic#appointment-booked
* subject = Reference(amina)
* about[0] = Reference(mri-appointment)
* about[+] = Reference(mri-referral)
* basedOn = Reference(mri-referral)
* sent = "2026-01-26T09:00:00+01:00"
* received = "2026-01-27T20:15:00+01:00"
* sender = Reference(nadia-berg-role)
* recipient[0] = Reference(amina)
* recipient[+] = Reference(rania)
* reasonCode.text = "To see whether something presses on the nerve"
* medium = $participation-mode#MAILWRIT
* payload[0].contentString = "5 February at 13:00, an hour. An interpreter is there. Your sister may stay with you. You can stop at any time."
* payload[+].contentReference = Reference(mri-leaflet)

Instance: told-delay
InstanceOf: CoproductionCommunication
Usage: #example
Title: "Amina is told that it takes longer"
* status = #completed
* topic = CommunicationTopic#delay
* subject = Reference(amina)
* about = Reference(mri-referral)
* sent = "2026-01-22T15:10:00+01:00"
* sender = Reference(sara-holm-role)
* recipient = Reference(amina)
* reasonCode.text = "Imaging had not answered for six working days"
* medium = $participation-mode#PHONE
* payload.contentString = "We sent your referral on 14 January and Imaging has not answered. I am calling them today and will call you on Friday."
* note.text = "With interpreter on the phone."

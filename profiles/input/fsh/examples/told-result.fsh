Instance: told-result
InstanceOf: CoproductionCommunication
Usage: #example
Title: "What it showed and what it means"
* status = #completed
* topic = CommunicationTopic#result
* subject = Reference(amina)
* about[0] = Reference(mri-report)
* about[+] = Reference(mri-referral)
* sent = "2026-02-12T10:00:00+01:00"
* sender = Reference(eva-lind-role)
* recipient[0] = Reference(amina)
* recipient[+] = Reference(rania)
* reasonCode.text = "Amina wanted to know the cause"
* medium = $participation-mode#PHYSICAL
* payload.contentString = "The canal where the nerves run has become narrow. That is why the leg burns when you stand and eases when you bend over. It is nothing dangerous, and it is not your fault."
* extension[phase].valueCode = #co-assess

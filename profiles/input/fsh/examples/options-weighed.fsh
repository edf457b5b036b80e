Instance: options-weighed
InstanceOf: CoproductionCommunication
Usage: #example
Title: "The options, with risks, benefits and what to expect"
* status = #completed
* topic = CommunicationTopic#decision
* subject = Reference(amina)
* about[0] = Reference(amina-plan-proposal)
* about[+] = Reference(surgery-referral)
* sent = "2026-03-02T14:30:00+01:00"
* sender = Reference(omar-nyberg-role)
* recipient[0] = Reference(amina)
* recipient[+] = Reference(rania)
* reasonCode.text = "Amina wanted to know the risks before she chooses"
* medium = $participation-mode#PHYSICAL
* payload[0].contentReference = Reference(option-operation)
* payload[+].contentReference = Reference(option-waiting)
* extension[phase].valueCode = #co-decide

Instance: amina-plan-proposal
InstanceOf: CoproductionCarePlan
Usage: #example
Title: "A first plan that may stay a draft"
* status = #completed
* intent = #proposal
* title = "First plan: find out, and keep moving"
* description = "We find out what presses on the nerve. Until then Amina walks a little each day, and nobody hurries her into deciding."
* subject = Reference(amina)
* period.start = "2026-01-13"
* period.end = "2026-03-16"
* created = "2026-01-13"
* author = Reference(eva-lind-role)
* contributor[0] = Reference(amina)
* contributor[+] = Reference(sara-holm-role)
* careTeam = Reference(amina-team)
* addresses = Reference(concern-pain)
* goal[0] = Reference(amina-goal-stand)
* goal[+] = Reference(amina-goal-not-worse)
* activity[0].reference = Reference(mri-referral)
* activity[+].reference = Reference(amina-walks)
* extension[phase].valueCode = #co-assess
* extension[agreement].extension[who].valueReference = Reference(amina)
* extension[agreement].extension[status].valueCode = #considering
* extension[agreement].extension[when].valueDateTime = "2026-01-13"
* extension[agreement].extension[reason].valueString = "I want to know what it is before I let anybody cut."
* extension[statusReason].valueCodeableConcept = PlanStatusReason#replaced

Instance: amina-plan
InstanceOf: CoproductionCarePlan
Usage: #example
Title: "The shared plan around the operation"
* identifier.system = "https://example.org/plan"
* identifier.value = "amina-2026"
* basedOn = Reference(amina-plan-proposal)
* status = #active
* intent = #plan
* title = "Operation in April, back in the bakery by August"
* description = "Omar operates. Before that Amina knows what will happen and has arranged the bakery. Afterwards she walks and exercises, Lisa shows her how, and Sara is the one to call."
* subject = Reference(amina)
* period.start = "2026-03-16"
* period.end = "2026-08-31"
* created = "2026-03-16"
* author = Reference(omar-nyberg-role)
* contributor[0] = Reference(amina)
* contributor[+] = Reference(rania)
* contributor[+] = Reference(sara-holm-role)
* careTeam = Reference(amina-team)
* addresses[0] = Reference(concern-work)
* addresses[+] = Reference(concern-pain)
* goal[0] = Reference(amina-goal-stand)
* goal[+] = Reference(amina-goal-not-worse)
* activity[0].reference = Reference(surgery-referral)
* activity[+].reference = Reference(amina-walks)
* activity[+].reference = Reference(rania-runs-the-bakery)
* activity[+].reference = Reference(lisa-shows-exercises)
* extension[phase].valueCode = #co-deliver
* extension[agreement][0].extension[who].valueReference = Reference(amina)
* extension[agreement][=].extension[status].valueCode = #agreed
* extension[agreement][=].extension[when].valueDateTime = "2026-03-16"
* extension[agreement][=].extension[option].valueReference = Reference(option-operation)
* extension[agreement][=].extension[reason].valueString = "I have waited and walked and it has not passed. Now I know what he will do."
* extension[agreement][+].extension[who].valueReference = Reference(omar-nyberg-role)
* extension[agreement][=].extension[status].valueCode = #agreed
* extension[agreement][=].extension[when].valueDateTime = "2026-03-16"

Instance: co-planning
InstanceOf: Measure
Usage: #definition
Title: "Co-planning"
* url = "https://fhir-coprod.org/ig/Measure/co-planning"
* version = "0.1.0"
* name = "CoPlanning"
* title = "Co-planning"
* status = #active
* experimental = false
* description = "The plan is made together: goals in own words, accepted on both sides, agreed, and what and why are told, in writing too."
* scoring = http://terminology.hl7.org/CodeSystem/measure-scoring#proportion
* type = http://terminology.hl7.org/CodeSystem/measure-type#process
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* insert MeasureItem(goals-in-own-words, "Patients with an active plan in the period.", "Of these with a goal in their own words.")
* insert MeasureItem(goals-accepted-by-both, "Goals of active plans in the period.", "Of these accepted by the patient side and by a professional.")
* insert MeasureItem(plan-agreed, "Active plans in the period.", "Of these with the agreement\, in full or in part\, of the patient or a relative.")
* insert MeasureItem(written-before, "Visits and procedures in the period.", "Of these with written information in the language of the patient\, sent before the event.")
* insert MeasureItem(what-and-why, "Referrals written in the period.", "Of these with a Communication to the patient about it that gives a reason.")

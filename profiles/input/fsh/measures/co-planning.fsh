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
* insert MeasureItem(goals-in-own-words, "Patients with an active plan in the period.", "CarePlan?status=active&intent=plan&_include=CarePlan:subject", "Of these with a goal in their own words.", "Goal?expressed-by:missing=false&lifecycle-status=active")
* insert MeasureItem(goals-accepted-by-both, "Goals of active plans in the period.", "CarePlan?status=active&intent=plan&_include=CarePlan:goal", "Of these accepted by the patient side and by a professional.", "CarePlan?status=active&intent=plan&_include=CarePlan:goal")
* insert MeasureItem(plan-agreed, "Active plans in the period.", "CarePlan?status=active&intent=plan", "Of these with the agreement\, in full or in part\, of the patient or a relative.", "CarePlan?status=active&intent=plan&agreement=agreed\,agreed-in-part")
* insert MeasureItem(written-before, "Visits and procedures in the period.", "Appointment?date=ge{{%start}}&status=fulfilled", "Of these with written information in the language of the patient\, sent before the event.", "Communication?topic=written-information\,appointment-booked&sent=ge{{%start}}&status=completed")
* insert MeasureItem(what-and-why, "Referrals written in the period.", "ServiceRequest?authored=ge{{%start}}&intent=order", "Of these with a Communication to the patient about it that gives a reason.", "Communication?about:missing=false&sent=ge{{%start}}&status=completed")

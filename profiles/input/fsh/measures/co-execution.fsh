Instance: co-execution
InstanceOf: Measure
Usage: #definition
Title: "Co-execution"
* url = "https://fhir-coprod.org/ig/Measure/co-execution"
* version = "0.1.0"
* name = "CoExecution"
* title = "Co-execution"
* status = #active
* experimental = false
* description = "What was agreed is done, on both sides, without the patient having to chase it."
* scoring = http://terminology.hl7.org/CodeSystem/measure-scoring#proportion
* type = http://terminology.hl7.org/CodeSystem/measure-type#process
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* insert MeasureItem(tasks-on-both-sides, "Active plans in the period.", "CarePlan?status=active&intent=plan", "Of these with a Task of the patient side and one of the professional side.", "Task?code=plan-activity&based-on:missing=false")
* insert MeasureItem(done-by-agreed-date, "Tasks of plans whose agreed date is in the period.", "Task?code=plan-activity&due=ge{{%start}}", "Of these completed by that date.", "Task?code=plan-activity&due=ge{{%start}}&status=completed")
* insert MeasureItem(acted-without-asking, "Referrals that moved on in the period.", "Task?code=fulfill&modified=ge{{%start}}", "Of these where no Communication of the patient asking about it came first.", "Task?code=fulfill&modified=ge{{%start}}")
* insert MeasureItem(no-stall-unspoken, "Stalls found in the period.", "DetectedIssue?identified=ge{{%start}}", "Of these where the patient was told within the time of the policy.", "Communication?topic=delay&sent=ge{{%start}}&status=completed")

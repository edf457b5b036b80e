Profile: Readiness
Parent: Observation
Id: readiness
Title: "What the person can and wants to do now"
Description: "Readiness, confidence or importance from 0 to 10, or capability in words, about a goal, a task or a plan: as the person says it, not as somebody guesses it."
* ^purpose = "Status: final: the person who writes down what the person said. Source: Patients' willingness and capabilities; small steps (migrant clinic, Denmark)."
* status MS
* code from ReadinessCodes (required)
* code MS
* subject 1..1 MS
* subject only Reference(Patient)
* focus 1..* MS
* focus only Reference(Goal or Task or CarePlan or ServiceRequest)
* effective[x] 1..1 MS
* effective[x] only dateTime
* performer 1..* MS
* value[x] 1..1 MS
* value[x] only integer or string
* valueInteger MS
* note MS
* obeys coprod-readiness-1 and coprod-readiness-2

Invariant: coprod-readiness-1
Description: "It is the patient, or a relative, who says it."
Severity: #error
Expression: "performer.where(reference.contains('Patient/') or reference.contains('RelatedPerson/')).exists()"

Invariant: coprod-readiness-2
Description: "The scale runs from 0 to 10."
Severity: #error
Expression: "value.ofType(integer).empty() or (value.ofType(integer) >= 0 and value.ofType(integer) <= 10)"

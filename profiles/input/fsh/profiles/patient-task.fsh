Profile: PatientTask
Parent: PlanTask
Id: patient-task
Title: "Task the patient or a relative has taken on"
Description: "The patient's own part of the plan, as far as they can and want. It is theirs: they accept it, put it off or hand it back, and a missed date is a question, not a failure."
* ^purpose = "Status: As plan-task: the patient or relative who owns it moves it. Source: Participation to the degree that patients can and desire; small steps (migrant clinic, Denmark)."
* owner only Reference(Patient or RelatedPerson)
* obeys coprod-patient-task-1

Invariant: coprod-patient-task-1
Description: "Only what the patient or relative has accepted is under way: a task begun says when it was agreed (authoredOn)."
Severity: #error
Expression: "status = 'accepted' or status = 'in-progress' implies authoredOn.exists()"

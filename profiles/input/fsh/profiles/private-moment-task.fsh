Profile: PrivateMomentTask
Parent: Task
Id: private-moment-task
Title: "See to a moment alone"
Description: "Somebody sees to it that the patient can speak without the interpreter or the relatives. Asked of every patient beforehand; kept from those who are to leave by its label, so it never stands on the Appointment itself."
* ^purpose = "Status: requested: whoever asked the patient. completed: the owner, whether or not it came about (happened). Source: 'We should always ask in advance if there is anything they want us to talk about without an interpreter' (migrant clinic, Denmark)."
* status MS
* code 1..1 MS
* code = TaskKind#private-moment
* focus MS
* focus only Reference(Appointment or Encounter)
* for 1..1 MS
* for only Reference(Patient)
* authoredOn MS
* owner MS
* owner only Reference(Practitioner or PractitionerRole or CareTeam or Organization)
* extension contains PrivateMomentExtension named privateMoment 1..1 MS
* obeys coprod-label-1

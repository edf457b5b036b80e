Extension: PrivateMomentExtension
Id: private-moment
Title: "A moment alone"
Description: "Whether the patient wants to speak without the interpreter or the relatives, and whether it came about. Never shown to those who are to leave: it stands on a Task (or Encounter) with a security label, not on the Appointment that they see."
Context: Task, Encounter
* ^contextInvariant = "%resource.meta.security.where(system = 'http://terminology.hl7.org/CodeSystem/v3-ActCode' and (code = 'NOPAT' or code = 'NOAUTH')).exists()"
* extension contains
    wanted 1..1 and
    asked 0..1 and
    without 0..* and
    happened 0..1
* extension[wanted] ^short = "Whether the patient wants it"
* extension[wanted].value[x] 1..1
* extension[wanted].value[x] only boolean
* extension[asked] ^short = "When the patient was asked"
* extension[asked].value[x] 1..1
* extension[asked].value[x] only dateTime
* extension[without] ^short = "Who is to leave the room"
* extension[without].value[x] 1..1
* extension[without].value[x] only Reference(RelatedPerson or Practitioner or PractitionerRole)
* extension[happened] ^short = "Whether it came about"
* extension[happened].value[x] 1..1
* extension[happened].value[x] only boolean

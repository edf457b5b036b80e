Profile: CoproductionPatient
Parent: Patient
Id: coproduction-patient
Title: "Patient with language and interpreter"
Description: "The person, with the language to speak and write in, and whether an interpreter is needed."
* ^purpose = "Status: active: registration. Source: Interpreters in most consultations, as equal colleagues (migrant clinic, Denmark)."
* identifier MS
* name MS
* telecom MS
* birthDate MS
* contact MS
* communication MS
* communication.language MS
* communication.preferred MS
* extension contains $interpreterRequired named interpreterRequired 0..1 MS
* obeys coprod-patient-1 and coprod-patient-2

Invariant: coprod-patient-1
Description: "When an interpreter is needed, the language is known."
Severity: #error
Expression: "extension.where(url = 'http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired' and value = true).exists() implies communication.exists()"

Invariant: coprod-patient-2
Description: "Only one language is the preferred one."
Severity: #error
Expression: "communication.where(preferred = true).count() <= 1"

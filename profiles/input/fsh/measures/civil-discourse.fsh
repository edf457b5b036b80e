Instance: civil-discourse
InstanceOf: Measure
Usage: #definition
Title: "Civil discourse"
* url = "https://fhir-coprod.org/ig/Measure/civil-discourse"
* version = "0.1.0"
* name = "CivilDiscourse"
* title = "Civil discourse"
* status = #active
* experimental = false
* description = "The patient was asked and answered, is known as a person, and got answers in time. Linked to all four needs of the spinal-surgery study."
* scoring = http://terminology.hl7.org/CodeSystem/measure-scoring#proportion
* type = http://terminology.hl7.org/CodeSystem/measure-type#process
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* insert MeasureItem(patient-heard, "Patients with a referral or a plan in the period.", "Patient?_has:ServiceRequest:patient:authored=ge{{%start}}", "Of these with a Communication sent by the patient or a relative\, or a problem list of their own.", "Patient?_has:ServiceRequest:patient:authored=ge{{%start}}&_has:Communication:sender:status=completed")
* insert MeasureItem(situation-known, "Patients with a referral or a plan in the period.", "Patient?_has:ServiceRequest:patient:authored=ge{{%start}}", "Of these with an accommodation\, a life story\, or everyday life on record; and an interpreter wherever one is needed.", "ServiceRequest?authored=ge{{%start}}&accommodation:missing=false")
* insert MeasureItem(answered-in-time, "Communications sent by patients or relatives in the period.", "Communication?sender:missing=false&sent=ge{{%start}}&status=completed", "Of these with a reply within the agreed time.", "Communication?in-response-to:missing=false&sent=ge{{%start}}&status=completed")

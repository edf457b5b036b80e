Profile: RespectAndTrustResponse
Parent: QuestionnaireResponse
Id: respect-and-trust-response
Title: "How the patient rates respect and trust"
Description: "Answers of the patient, or of a relative for them, to our questionnaire. It is kept beside the computed measures and is never replaced by them."
* ^purpose = "Status: completed: the patient, or the relative who answers for them. Source: Mutual trust and respect are crucial (spinal surgery, Sweden); a call for measures of benefit (Batalden 2015)."
* questionnaire 1..1 MS
* questionnaire = "https://fhir-coprod.org/ig/Questionnaire/respect-and-trust"
* status MS
* subject 1..1 MS
* subject only Reference(Patient)
* authored 1..1 MS
* source 1..1 MS
* source only Reference(Patient or RelatedPerson)
* item MS
* obeys coprod-rating-1

Invariant: coprod-rating-1
Description: "A completed response answers at least one question; each may be left out."
Severity: #error
Expression: "status = 'completed' implies item.answer.exists()"

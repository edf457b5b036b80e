Instance: amina-rating
InstanceOf: RespectAndTrustResponse
Usage: #example
Title: "How Amina was met"
* questionnaire = "https://fhir-coprod.org/ig/Questionnaire/respect-and-trust"
* status = #completed
* subject = Reference(amina)
* authored = "2026-05-28T20:00:00+02:00"
* source = Reference(amina)
* item[0].linkId = "heard"
* item[=].answer.valueCoding = Rating#completely
* item[+].linkId = "seriously"
* item[=].answer.valueCoding = Rating#mostly
* item[+].linkId = "person"
* item[=].answer.valueCoding = Rating#completely
* item[+].linkId = "what-and-why"
* item[=].answer.valueCoding = Rating#mostly
* item[+].linkId = "decided"
* item[=].answer.valueCoding = Rating#completely
* item[+].linkId = "kept"
* item[=].answer.valueCoding = Rating#half
* item[+].linkId = "trust"
* item[=].answer.valueCoding = Rating#mostly
* item[+].linkId = "words"
* item[=].answer.valueString = "The first paper got lost and nobody said so for a week. After that they called before I had to."

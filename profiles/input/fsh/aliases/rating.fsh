// One question with five answers; none is obligatory.
RuleSet: Rating(id, question)
* item[+].linkId = "{id}"
* item[=].text = {question}
* item[=].type = #choice
* item[=].required = false
* item[=].answerValueSet = "https://fhir-coprod.org/ig/ValueSet/rating"

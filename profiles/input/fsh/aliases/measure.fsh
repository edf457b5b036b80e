// One item of evidence: who could have it, and who has. The query finds candidates; what a query cannot say stands
// in the description, and the program that computes the measure checks it.
RuleSet: MeasureItem(code, denominator, denominatorQuery, numerator, numeratorQuery)
* group[+].code = MeasureItem#{code}
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].description = {denominator}
* group[=].population[=].criteria.language = #application/x-fhir-query
* group[=].population[=].criteria.expression = {denominatorQuery}
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].description = {numerator}
* group[=].population[=].criteria.language = #application/x-fhir-query
* group[=].population[=].criteria.expression = {numeratorQuery}

// One item of evidence: who could have it, and who has. Criteria are words; the program that computes them is ours.
RuleSet: MeasureItem(code, denominator, numerator)
* group[+].code = MeasureItem#{code}
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].criteria.language = #text/plain
* group[=].population[=].criteria.expression = {denominator}
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].criteria.language = #text/plain
* group[=].population[=].criteria.expression = {numerator}

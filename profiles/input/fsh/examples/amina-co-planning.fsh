Instance: amina-co-planning
InstanceOf: CoproductionMeasureReport
Usage: #example
Title: "Co-planning with Amina"
* status = #complete
* type = #individual
* measure = "https://fhir-coprod.org/ig/Measure/co-planning"
* subject = Reference(amina)
* date = "2026-06-01T06:00:00+02:00"
* reporter = Reference(county-imaging)
* period.start = "2026-01-01"
* period.end = "2026-05-31"
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* group[0].code = MeasureItem#goals-in-own-words
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].count = 1
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].count = 1
* group[=].measureScore.value = 1.0
* group[+].code = MeasureItem#plan-agreed
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].count = 1
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].count = 1
* group[=].measureScore.value = 1.0
* group[+].code = MeasureItem#what-and-why
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].count = 2
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].count = 2
* group[=].measureScore.value = 1.0

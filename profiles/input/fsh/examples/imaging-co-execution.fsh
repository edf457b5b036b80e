Instance: imaging-co-execution
InstanceOf: CoproductionMeasureReport
Usage: #example
Title: "Co-execution at imaging, January to May"
* status = #complete
* type = #summary
* measure = "https://fhir-coprod.org/ig/Measure/co-execution"
* date = "2026-06-01T06:00:00+02:00"
* reporter = Reference(county-imaging)
* period.start = "2026-01-01"
* period.end = "2026-05-31"
* improvementNotation = http://terminology.hl7.org/CodeSystem/measure-improvement-notation#increase
* group[0].code = MeasureItem#acted-without-asking
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].count = 128
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].count = 109
* group[=].measureScore.value = 0.85
* group[+].code = MeasureItem#no-stall-unspoken
* group[=].population[0].code = http://terminology.hl7.org/CodeSystem/measure-population#denominator
* group[=].population[=].count = 14
* group[=].population[1].code = http://terminology.hl7.org/CodeSystem/measure-population#numerator
* group[=].population[=].count = 9
* group[=].measureScore.value = 0.64

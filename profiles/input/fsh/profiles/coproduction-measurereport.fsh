Profile: CoproductionMeasureReport
Parent: MeasureReport
Id: coproduction-measurereport
Title: "Coproduction measure of a patient or a department"
Description: "One of the three core concepts for a period: each item of evidence with how many had it and how many could have. Words of patients about the service are kept beside it as Communications."
* ^purpose = "Status: complete: the program that computes it. Source: Outcome measures for the three core concepts (spinal surgery, Sweden); a department's own picture (five Dutch hospitals)."
* status MS
* type MS
* measure MS
* subject MS
* subject only Reference(Patient)
* date 1..1 MS
* reporter 1..1 MS
* reporter only Reference(Organization)
* period MS
* group 1..* MS
* group.code 1..1 MS
* group.population 2..* MS
* evaluatedResource MS
* obeys coprod-measure-1 and coprod-measure-2

Invariant: coprod-measure-1
Description: "It reports one of our measures."
Severity: #error
Expression: "measure.startsWith('https://fhir-coprod.org/ig/Measure/')"

Invariant: coprod-measure-2
Description: "A report about one patient names the patient; one about a department names none."
Severity: #error
Expression: "(type = 'individual') = subject.exists()"

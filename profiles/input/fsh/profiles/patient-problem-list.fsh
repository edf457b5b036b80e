Profile: PatientProblemList
Parent: List
Id: patient-problem-list
Title: "Problem list that the patient writes and ranks"
Description: "What troubles the patient, the worst first, in the patient's order. A professional may write it down; the patient is its source."
* ^purpose = "Status: current: one a patient; retired when a new one replaces it. Source: The nurse repeats all problems and asks the patient to prioritize them (migrant clinic, Denmark)."
* status MS
* mode MS
* title MS
* code 1..1 MS
* code = ListKind#patient-problem-list
* subject 1..1 MS
* subject only Reference(Patient)
* date 1..1 MS
* source 1..1 MS
* source only Reference(Patient)
* orderedBy 1..1 MS
* orderedBy = $list-order#priority
* note MS
* entry MS
* entry.item only Reference(PatientConcern)

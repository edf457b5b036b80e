CodeSystem: ListKind
Id: list-kind
Title: "Kind of list"
Description: "Lists of ours."
* insert Codes
* #patient-problem-list "Problem list of the patient" "What troubles the patient, written and ranked by the patient."

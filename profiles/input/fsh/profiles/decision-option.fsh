Profile: DecisionOption
Parent: WrittenInformation
Id: decision-option
Title: "Option of a decision"
Description: "One option (doing nothing is one): what it is, its risks and benefits, the outcome to expect, and the cause of the trouble, as it was given to the patient. The options go out together in a Communication with topic decision; the choice stands in the plan's agreement."
* ^purpose = "Status: docStatus final: its author, before it is talked about. Source: Patients asked to know more about risks and benefits before the decision (spinal surgery, Sweden)."
* type = DocumentKind#decision-option
* subject 1..1 MS
* author 1..* MS

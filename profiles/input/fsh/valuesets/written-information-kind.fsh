ValueSet: WrittenInformationKind
Id: written-information-kind
Title: "Kind of written information"
Description: "Documents written for the patient."
* insert Choice
* DocumentKind#written-information
* DocumentKind#decision-option
* DocumentKind#instructions

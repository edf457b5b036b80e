CodeSystem: DocumentKind
Id: document-kind
Title: "Kind of document"
Description: "Documents that patient and professionals share."
* insert Codes
* #written-information "Written information" "What was said, to read again at home or to share with relatives."
* #decision-option "Option" "One option of a decision: what it is, risks, benefits, expected outcome, and the cause of the trouble."
* #instructions "Instructions" "How to prepare, exercise, or look after a wound."
* #life-story "Life story" "What the person has told or written about their life."

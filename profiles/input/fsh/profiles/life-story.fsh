Profile: LifeStory
Parent: DocumentReference
Id: life-story
Title: "Life story"
Description: "What the person has told or written about their life: childhood, family, turning points. It is theirs; the label keeps it out of other scopes until they, or somebody for them, release it."
* ^purpose = "Status: current: as told. superseded: when told anew. The label is lifted by the patient, or by a professional at the patient's word. Source: Life story and turning points (migrant clinic, Denmark)."
* status MS
* type 1..1 MS
* type = DocumentKind#life-story
* subject 1..1 MS
* subject only Reference(Patient)
* date MS
* author 1..* MS
* author only Reference(Patient or RelatedPerson)
* description MS
* content.attachment.contentType 1..1 MS
* content.attachment.language MS
* obeys coprod-label-1

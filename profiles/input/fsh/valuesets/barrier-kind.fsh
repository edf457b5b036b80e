ValueSet: BarrierKindCodes
Id: barrier-kind
Title: "What stands in the way"
Description: "What keeps a person from a goal."
* insert Choice
* include codes from system BarrierKind

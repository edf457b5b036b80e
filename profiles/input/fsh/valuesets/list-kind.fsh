ValueSet: ListKindCodes
Id: list-kind
Title: "Kind of list"
Description: "Lists of ours."
* insert Choice
* include codes from system ListKind

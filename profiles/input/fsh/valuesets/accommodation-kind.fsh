ValueSet: AccommodationKindCodes
Id: accommodation-kind
Title: "What a person needs in order to come through a visit"
Description: "Special needs that the receiving department should know and meet."
* insert Choice
* include codes from system AccommodationKind

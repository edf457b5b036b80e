ValueSet: ConcernCategoryCodes
Id: concern-category
Title: "Category of a concern"
Description: "What kind of trouble a person has put on their own list; R4's condition categories have none for it."
* insert Choice
* include codes from system ConcernCategory

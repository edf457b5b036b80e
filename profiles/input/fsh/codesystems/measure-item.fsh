CodeSystem: MeasureItem
Id: measure-item
Title: "Item of a coproduction measure"
Description: "Items of evidence behind the three core concepts."
* insert Codes
* #patient-heard "The patient was heard" "The patient was heard."
* #situation-known "The unique situation is known" "The unique situation is known."
* #answered-in-time "Answered in time" "Answered in time."
* #goals-in-own-words "Goals in own words" "Goals in own words."
* #goals-accepted-by-both "Goals accepted by both" "Goals accepted by both."
* #plan-agreed "Plan agreed" "Plan agreed."
* #written-before "Written information before the event" "Written information before the event."
* #what-and-why "Told what and why" "Told what and why."
* #tasks-on-both-sides "Tasks on both sides" "Tasks on both sides."
* #done-by-agreed-date "Done by when agreed" "Done by when agreed."
* #acted-without-asking "Acted on without asking" "Acted on without asking."
* #no-stall-unspoken "No stall without word" "No stall without word."

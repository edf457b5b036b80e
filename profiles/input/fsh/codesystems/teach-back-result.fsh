CodeSystem: TeachBackResult
Id: teach-back-result
Title: "Result of a teach-back"
Description: "Says something about the explanation, not about the person."
* insert Codes
* #understood "Said it in own words" "The person could say what will happen and why."
* #understood-in-part "Said part of it" "Some of it has to be explained again, in another way."
* #not-understood "Not yet" "It has to be explained again, in another way."

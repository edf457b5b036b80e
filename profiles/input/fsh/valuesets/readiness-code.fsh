ValueSet: ReadinessCodes
Id: readiness-code
Title: "What the person can and wants to do now"
Description: "Readiness, confidence, importance and capability."
* insert Choice
* CoproductionObservation#readiness
* CoproductionObservation#confidence
* CoproductionObservation#importance
* CoproductionObservation#capability

ValueSet: TeachBackResultCodes
Id: teach-back-result
Title: "Result of a teach-back"
Description: "Says something about the explanation, not about the person."
* insert Choice
* include codes from system TeachBackResult

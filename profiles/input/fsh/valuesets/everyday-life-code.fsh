ValueSet: EverydayLifeCodes
Id: everyday-life-code
Title: "Everyday life"
Description: "What has to be arranged around care."
* insert Choice
* CoproductionObservation#work
* CoproductionObservation#sick-leave
* CoproductionObservation#family-care
* CoproductionObservation#home
* CoproductionObservation#economy
* CoproductionObservation#transport
* CoproductionObservation#daily-activities

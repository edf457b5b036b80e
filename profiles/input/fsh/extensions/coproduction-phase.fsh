Extension: CoproductionPhaseExtension
Id: coproduction-phase
Title: "Phase of coproduction"
Description: "Where patient and professionals are in the cycle of co-assessing, co-deciding, co-designing and co-delivering."
Context: CarePlan, Communication
* value[x] 1..1
* value[x] only code
* valueCode from CoproductionPhaseCodes (required)

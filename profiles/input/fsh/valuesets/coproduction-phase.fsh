ValueSet: CoproductionPhaseCodes
Id: coproduction-phase
Title: "Phase of the coproduction cycle"
Description: "Where patient and professionals are in Elwyn's cycle (BMJ Qual Saf 2019, doi:10.1136/bmjqs-2019-009830)."
* insert Choice
* include codes from system CoproductionPhase

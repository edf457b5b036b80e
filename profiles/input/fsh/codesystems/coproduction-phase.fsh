CodeSystem: CoproductionPhase
Id: coproduction-phase
Title: "Phase of the coproduction cycle"
Description: "Where patient and professionals are in Elwyn's cycle (BMJ Qual Saf 2019, doi:10.1136/bmjqs-2019-009830)."
* insert Codes
* #co-assess "Co-assess" "Together find out how the person is, what worries them and what they hope for."
* #co-decide "Co-decide" "Together weigh the options and choose, in the time it takes."
* #co-design "Co-design" "Together work out how the choice is carried out: who does what by when."
* #co-deliver "Co-deliver" "Carry it out, each their part."

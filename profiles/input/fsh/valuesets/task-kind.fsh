ValueSet: TaskKindCodes
Id: task-kind
Title: "Kind of Task"
Description: "Tells our Tasks apart from those that are referrals (code fulfill, or none)."
* insert Choice
* include codes from system TaskKind

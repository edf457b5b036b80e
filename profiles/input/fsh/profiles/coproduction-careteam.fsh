Profile: CoproductionCareTeam
Parent: CareTeam
Id: coproduction-careteam
Title: "Care team on both sides"
Description: "Everybody with a part in the plan: the patient, people of theirs, professionals of several departments and organisations, the interpreter as a colleague. Periods show who has stayed (relational continuity)."
* ^purpose = "Status: active and inactive: the coordinator. Source: A team effort of sense-making; relational continuity (migrant clinic, Denmark); meeting the same doctor several times (spinal surgery, Sweden)."
* status MS
* subject 1..1 MS
* subject only Reference(Patient)
* period MS
* participant 1..* MS
* participant.role 1..* MS
* participant.role from NetworkRoleCodes (extensible)
* participant.member 1..1 MS
* participant.onBehalfOf MS
* participant.period MS
* note MS
* obeys coprod-team-1

Invariant: coprod-team-1
Description: "The patient is a member of the team."
Severity: #error
Expression: "participant.member.reference.where(contains('Patient/')).exists()"

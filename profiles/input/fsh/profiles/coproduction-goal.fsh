Profile: CoproductionGoal
Parent: Goal
Id: coproduction-goal
Title: "Goal in the patient's own words"
Description: "What the patient wants to reach, verbatim; who accepts it and how much it matters to each. Clinical wording stands in note, with its author."
* ^purpose = "Status: proposed: the patient's side. accepted, active: once somebody has accepted it (acceptance). on-hold, cancelled, rejected: either side, with statusReason. completed: the patient's side, with achievementStatus. Source: 'See me' (spinal surgery, Sweden); 'not getting worse' as a goal (migrant clinic, Denmark); co-planning (Batalden 2015)."
* lifecycleStatus MS
* achievementStatus MS
* statusReason MS
* description MS
* description.text 1..1 MS
* description.text ^short = "Verbatim, as the patient said or wrote it"
* subject only Reference(Patient)
* subject MS
* start[x] MS
* target MS
* expressedBy 1..1 MS
* expressedBy only Reference(Patient or RelatedPerson)
* addresses MS
* note MS
* note ^short = "Clinical wording and what stands in the way, with author"
* extension contains
    $goal-acceptance named acceptance 0..* MS and
    AgencyExtension named agency 0..1 MS
* extension[acceptance].extension[individual] 1..1
* extension[acceptance].extension[status] 1..1
* obeys coprod-goal-1 and coprod-goal-2 and coprod-goal-3

Invariant: coprod-goal-1
Description: "A note on a goal names its author, so that clinical wording is never taken for the patient's."
Severity: #error
Expression: "note.all(author.exists())"

Invariant: coprod-goal-2
Description: "A goal that is given up, turned down or put on hold says why."
Severity: #error
Expression: "lifecycleStatus = 'cancelled' or lifecycleStatus = 'rejected' or lifecycleStatus = 'on-hold' implies statusReason.exists()"

Invariant: coprod-goal-3
Description: "A completed goal says how far it was reached."
Severity: #error
Expression: "lifecycleStatus = 'completed' implies achievementStatus.exists()"

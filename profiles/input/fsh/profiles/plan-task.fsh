Profile: PlanTask
Parent: Task
Id: plan-task
Title: "Task in the shared plan"
Description: "What one person, on either side, has taken on in the plan: in plain words, by when, for which goal. The owner moves the status; nobody else marks it done for them."
* ^purpose = "Status: requested: whoever proposes it. accepted, in-progress, on-hold, completed, failed, rejected: the owner, and nobody for them. cancelled: either side. Source: Agreed roles and responsibilities on both sides (migrant clinic, Denmark); co-execution (Batalden 2015); who does each thing made visible (review of models, 2024)."
* status MS
* statusReason MS
* code 1..1 MS
* code = TaskKind#plan-activity
* description 1..1 MS
* description ^short = "What will be done, in plain words"
* basedOn MS
* basedOn ^short = "The plan"
* focus MS
* for 1..1 MS
* for only Reference(Patient)
* executionPeriod MS
* authoredOn MS
* lastModified MS
* requester MS
* owner 1..1 MS
* owner only Reference(Patient or RelatedPerson or PractitionerRole or Practitioner or CareTeam or Organization or HealthcareService)
* reasonCode MS
* note MS
* note ^short = "What the owner says about it"
* restriction MS
* restriction.period MS
* restriction.period ^short = "end: agreed by when"
* extension contains
    AgencyExtension named agency 0..1 MS and
    $pertainsToGoal named goal 0..* MS
* obeys coprod-plan-task-1 and coprod-plan-task-2

Invariant: coprod-plan-task-1
Description: "A task that was turned down, failed or is on hold should say why, without blame."
Severity: #warning
Expression: "status = 'rejected' or status = 'failed' or status = 'on-hold' implies statusReason.exists()"

Invariant: coprod-plan-task-2
Description: "A task that is under way should say by when (restriction.period.end)."
Severity: #warning
Expression: "status = 'accepted' or status = 'in-progress' implies restriction.period.end.exists()"

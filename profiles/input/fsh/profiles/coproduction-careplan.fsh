Profile: CoproductionCarePlan
Parent: CarePlan
Id: coproduction-careplan
Title: "Coproduced care plan"
Description: "The shared plan: goals both sides agreed on, who does what by when on either side, and what each person says to it as a whole. A proposal is a plan of its own (intent proposal); the decided one is basedOn it."
* ^purpose = "Status: draft and proposal: whoever suggests the plan. active: a professional, once the agreement of the patient is on record or the reason why not. on-hold, revoked: either side, with plan-status-reason. completed: the coordinator together with the patient. Source: Structured and customizable plans, co-planning (spinal surgery, Sweden); shared action plan with agreed roles, slow decisions allowed (migrant clinic, Denmark)."
* subject only Reference(Patient)
* subject MS
* status MS
* intent MS
* description MS
* description ^short = "The plan in plain words"
* period MS
* basedOn only Reference(CarePlan)
* basedOn ^short = "The proposal that became this plan"
* addresses MS
* goal only Reference(CoproductionGoal)
* goal MS
* careTeam MS
* contributor MS
* contributor ^short = "Everybody who had a part in making the plan, the patient first"
* activity MS
* activity.reference MS
* activity.reference ^short = "Task with an owner on either side; or the referral, the appointment"
* extension contains
    CoproductionPhaseExtension named phase 0..1 MS and
    PlanAgreementExtension named agreement 0..* MS and
    PlanStatusReasonExtension named statusReason 0..1 MS
* obeys coprod-plan-1 and coprod-plan-2 and coprod-plan-3 and coprod-plan-4

Invariant: coprod-plan-1
Description: "A plan that is carried out, or was, names at least one goal."
Severity: #error
Expression: "(intent = 'plan' or intent = 'order') and (status = 'active' or status = 'completed') implies goal.exists()"

Invariant: coprod-plan-2
Description: "An active plan should say what the patient, or somebody who acts for them, says to it."
Severity: #warning
Expression: "intent = 'plan' and status = 'active' implies extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/plan-agreement').extension.where(url = 'who').value.ofType(Reference).reference.where(contains('Patient/') or contains('RelatedPerson/')).exists()"

Invariant: coprod-plan-3
Description: "Each activity should be a resource of its own (reference), so that it has an owner, a status and a date."
Severity: #warning
Expression: "activity.detail.empty()"

Invariant: coprod-plan-4
Description: "A plan that is on hold or revoked says why."
Severity: #error
Expression: "status = 'on-hold' or status = 'revoked' implies extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/plan-status-reason').exists()"

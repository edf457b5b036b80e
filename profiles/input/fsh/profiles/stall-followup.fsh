Profile: StallFollowup
Parent: Task
Id: stall-followup
Title: "Follow-up of a stalled referral"
Description: "The work that a stall asks for: one per referral and stage, gathering its stalls. The owner is the role that can move the referral; it ends by itself when the missing fact appears."
* ^purpose = "Status: requested: the watch. accepted, in-progress, on-hold: its owner. completed: the watch, when the missing fact appears. cancelled: the watch, when there is no referral any more. Source: Patients were forced to wait because of the lack of communication between providers (spinal surgery, Sweden)."
* identifier 1..* MS
* status MS
* intent MS
* intent = #order
* priority MS
* code 1..1 MS
* code = TaskKind#stall-followup
* description 1..1 MS
* description ^short = "What is missing and what would move it on, in a sentence"
* businessStatus MS
* businessStatus from ReferralStageCodes (preferred)
* businessStatus ^short = "The stage the referral stands in"
* focus 1..1 MS
* focus only Reference(ServiceRequest or Communication)
* focus ^short = "The referral, or the patient's request for one"
* for 1..1 MS
* for only Reference(Patient)
* authoredOn 1..1 MS
* lastModified MS
* requester 1..1 MS
* requester only Reference(Device)
* owner MS
* owner ^short = "The role or department that can move it"
* reasonReference MS
* reasonReference only Reference(StalledReferral)
* reasonReference ^short = "The gravest of its stalls; all of them stand in input"
* restriction MS
* restriction.period MS
* restriction.period ^short = "end: by when somebody acts"
* input MS
* input ^short = "Each stall (DetectedIssue) that it gathers"
* extension contains ReferralStandingExtension named standing 1..1 MS
* obeys coprod-followup-1

Invariant: coprod-followup-1
Description: "A follow-up names at least one stall, as its reason or among its input."
Severity: #error
Expression: "reasonReference.exists() or input.value.ofType(Reference).exists()"

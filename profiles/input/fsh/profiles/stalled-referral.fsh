Profile: StalledReferral
Parent: DetectedIssue
Id: stalled-referral
Title: "Stalled referral"
Description: "One finding of the referral watch: which rule, in which referral, since when. preliminary while it is true, final with a mitigation once it is resolved (without author when it resolved by itself). It cannot be closed by hand while it is still true."
* ^purpose = "Status: preliminary and final: the watch alone, from what is in the record. cancelled: the watch, when there is no referral any more. Nobody closes it by hand while it is true. Source: Referrals lost, results missing, nobody who said so (spinal surgery, Sweden)."
* identifier 1..* MS
* identifier ^short = "One value a stall: referral, rule and entry into the stage"
* status MS
* status from StalledReferralStatus (required)
* code 1..1 MS
* code from StallRuleCodes (required)
* severity 1..1 MS
* patient 1..1 MS
* patient only Reference(Patient)
* identified[x] 1..1 MS
* identified[x] only dateTime
* identifiedDateTime ^short = "When it was found"
* author 1..1 MS
* author only Reference(Device)
* implicated 1..* MS
* implicated ^short = "The referral (ServiceRequest, or the Communication that asked for one), and its Task"
* evidence MS
* evidence ^short = "What was looked at"
* detail 1..1 MS
* detail ^short = "What is missing, since when, and who can move it"
* mitigation MS
* extension contains ReferralStandingExtension named standing 1..1 MS
* obeys coprod-stall-1 and coprod-stall-2

Invariant: coprod-stall-1
Description: "A stall is about a referral: the ServiceRequest, or the Communication by which the patient asked for one."
Severity: #error
Expression: "implicated.where(reference.contains('ServiceRequest/') or reference.contains('Communication/')).exists()"

Invariant: coprod-stall-2
Description: "A stall that is over (final) says by what (mitigation)."
Severity: #error
Expression: "status = 'final' implies mitigation.exists()"

Profile: ReferralTask
Parent: Task
Id: referral-task
Title: "Referral as asked of one department"
Description: "One department's share of a referral: whether it has it, takes it, waits, or turns it down. The owner moves the status; either side may cancel. Code fulfill, or none."
* ^purpose = "Status: requested: the requester. received, accepted, rejected, in-progress, on-hold, completed, failed: the owner (the department). cancelled: either side, before work has begun. Source: Communication between providers is pivotal when referrals and investigations are needed (spinal surgery, Sweden)."
* status MS
* statusReason MS
* statusReason from TaskStatusReasonCodes (preferred)
* businessStatus MS
* code MS
* code = $task-code#fulfill
* description MS
* focus 1..1 MS
* focus only Reference(ServiceRequest)
* for 1..1 MS
* for only Reference(Patient)
* authoredOn 1..1 MS
* lastModified MS
* requester 1..1 MS
* owner MS
* owner ^short = "The department asked; absent: nobody has claimed it"
* reasonCode MS
* restriction MS
* restriction.period MS
* restriction.period ^short = "end: when a hold is reviewed"
* output MS
* output ^short = "The report or document that came of it"
* note MS
* extension contains
    AccommodationExtension named accommodation 0..* MS and
    $pertainsToGoal named goal 0..* MS
* obeys coprod-referral-task-1 and coprod-referral-task-2 and coprod-referral-task-3

Invariant: coprod-referral-task-1
Description: "A department that turns a referral down, or cannot carry it out, says why."
Severity: #error
Expression: "status = 'rejected' or status = 'failed' implies statusReason.exists()"

Invariant: coprod-referral-task-2
Description: "A referral on hold should say why, and when it is looked at again (restriction.period.end)."
Severity: #warning
Expression: "status = 'on-hold' implies statusReason.exists() and restriction.period.end.exists()"

Invariant: coprod-referral-task-3
Description: "Somebody owns what has been received, accepted or begun."
Severity: #error
Expression: "status = 'received' or status = 'accepted' or status = 'in-progress' or status = 'completed' implies owner.exists()"

CodeSystem: TaskKind
Id: task-kind
Title: "Kind of Task"
Description: "Tells our Tasks apart from those that are referrals (code fulfill, or none)."
* insert Codes
* #stall-followup "Follow-up of a stalled referral" "Somebody makes a stalled referral move again."
* #plan-activity "Activity of the shared plan" "What patient, relative or professional has taken on in the shared plan."
* #information-request "Request for information" "Somebody supplies what a department needs in order to decide on a referral."
* #private-moment "Private moment" "Somebody sees to it that the patient can speak without interpreter or relatives."
* #possible-same-patient "Are these two the same person?" "Somebody decides whether the patients in focus and in input are one; output: same or different."
* #merge-conflict "Changed here and at the EHR" "Somebody compares what was entered here with what the EHR says; what was entered here is kept."
* #feed-down "An EHR is not seen whole" "Somebody sees why an EHR cannot be pulled from; until then nothing is claimed from what it should show."
* #scope-shift "Many orders are not watched any more" "Somebody looks at why far more orders of an EHR than a week before are out of scope or unclear."
* #silence "Referrals of which nothing is heard" "Somebody in a department looks at referrals about which nothing was recorded for too long, the oldest first."
* #practice "A step is not recorded any more" "Somebody says why a department records a step of its referrals far less often than it did."
* #looked-at "Looked at" "A named person has looked at a referral about which nothing was recorded."
* #backfill "Old stalls of an EHR" "Somebody looks through the referrals that were stalled already when an EHR was first read."

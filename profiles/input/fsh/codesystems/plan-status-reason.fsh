CodeSystem: PlanStatusReason
Id: plan-status-reason
Title: "Why a plan has its status"
Description: "Why a plan is on hold, revoked, still a draft or ended."
* insert Codes
* #patient-needs-time "The patient needs time" "The decision is not made yet, and may take its time."
* #patient-choice "Patient choice" "The patient chose to wait, to stop or to do otherwise."
* #medically-impossible "Medically not possible now" "Another condition has to be dealt with first."
* #life-situation "Life situation" "Work, family, money or housing does not allow it now."
* #waiting-for-department "Waiting for another department" "A referral or result is outstanding."
* #goals-met "Goals met" "What was agreed has been reached."
* #goals-changed "Goals changed" "The patient wants something else than when the plan was made."
* #replaced "Replaced" "Another plan has taken its place."

ValueSet: PlanStatusReasonCodes
Id: plan-status-reason
Title: "Why a plan has its status"
Description: "Why a plan is on hold, revoked, still a draft or ended."
* insert Choice
* include codes from system PlanStatusReason

ValueSet: TaskStatusReasonCodes
Id: task-status-reason
Title: "Why a referral waits or was turned down"
Description: "Task.statusReason and Task.businessStatus of a referral."
* insert Choice
* include codes from system TaskStatusReason

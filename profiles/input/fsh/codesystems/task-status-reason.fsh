CodeSystem: TaskStatusReason
Id: task-status-reason
Title: "Why a referral waits or was turned down"
Description: "Task.statusReason and Task.businessStatus of a referral."
* insert Codes
* #awaiting-information "Awaiting information" "The department needs to know more before it can decide."
* #awaiting-examination "Awaiting an examination" "Something has to be examined before the visit makes sense."
* #patient-choice "Patient choice" "The patient chose to wait or not to come."
* #medically-impossible "Medically not possible now" "Another condition has to be dealt with first."
* #no-capacity "No capacity" "The department cannot take more patients in time."
* #wrong-department "Wrong department" "Another department or hospital is responsible."
* #not-indicated "Not indicated" "What was asked for would not help; the reason is written beside it."
* #done-elsewhere "Done elsewhere" "It has been done by somebody else."
* #duplicate "Duplicate" "Another referral asks for the same."
* #withdrawn "Withdrawn by the patient" "The patient does not want it any more."

Instance: neurosurgery-task
InstanceOf: ReferralTask
Usage: #example
Title: "Turned down by another hospital, with the reason"
* status = #rejected
* statusReason = TaskStatusReason#no-capacity
* intent = #order
* focus = Reference(surgery-referral)
* for = Reference(amina)
* authoredOn = "2026-02-12T10:41:00+01:00"
* lastModified = "2026-02-12T16:30:00+01:00"
* requester = Reference(eva-lind-role)
* owner.display = "Neurosurgery, University Hospital"

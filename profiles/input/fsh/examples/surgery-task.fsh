Instance: surgery-task
InstanceOf: ReferralTask
Usage: #example
Title: "The referral as asked of spine surgery"
* status = #accepted
* intent = #order
* code = $task-code#fulfill
* focus = Reference(surgery-referral)
* for = Reference(amina)
* authoredOn = "2026-02-12T10:41:00+01:00"
* lastModified = "2026-02-13T09:00:00+01:00"
* requester = Reference(eva-lind-role)
* owner = Reference(county-spine)

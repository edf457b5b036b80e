Instance: mri-task
InstanceOf: ReferralTask
Usage: #example
Title: "The referral as asked of imaging"
* status = #completed
* intent = #order
* code = $task-code#fulfill
* focus = Reference(mri-referral)
* for = Reference(amina)
* authoredOn = "2026-01-14T08:05:00+01:00"
* lastModified = "2026-02-09T15:00:00+01:00"
* requester = Reference(eva-lind-role)
* owner = Reference(county-imaging)
* extension[goal].valueReference = Reference(amina-goal-stand)
* output.type.text = "Report"
* output.valueReference = Reference(mri-report)

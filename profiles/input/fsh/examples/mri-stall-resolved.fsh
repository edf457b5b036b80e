Instance: mri-stall-resolved
InstanceOf: Provenance
Usage: #example
Title: "The stall resolved by itself"
* target = Reference(mri-stall)
* recorded = "2026-01-23T10:12:00+01:00"
* activity = http://terminology.hl7.org/CodeSystem/v3-DataOperation#UPDATE
* activity.text = "Resolved by itself: the department acknowledged the referral"
* agent.type = http://terminology.hl7.org/CodeSystem/provenance-participant-type#performer
* agent.who = Reference(referral-watch)
* entity.role = #source
* entity.what = Reference(mri-task)

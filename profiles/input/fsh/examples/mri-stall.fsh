Instance: mri-stall
InstanceOf: StalledReferral
Usage: #example
Title: "Imaging has not said that it has the referral; resolved"
* meta.security = $v3-ActCode#NOPAT
* identifier.system = "https://fhir-coprod.org/ig/stall"
* identifier.value = "mri-referral/unacknowledged/2026-01-14T07:05:00Z"
* status = #final
* code = StallRule#unacknowledged
* severity = #moderate
* patient = Reference(amina)
* identifiedDateTime = "2026-01-22T00:00:00+01:00"
* author = Reference(referral-watch)
* implicated[0] = Reference(mri-referral)
* implicated[+] = Reference(mri-task)
* evidence.code = ReferralStage#sent
* evidence.detail = Reference(mri-task)
* detail = "Missing: word from Imaging that it has received the referral. Sent on 14 January 2026, due by 21 January. Imaging can move it. The patient has not been told."
* mitigation.action.text = "The department received and accepted the referral."
* mitigation.date = "2026-01-23T10:12:00+01:00"
* extension[standing].extension[stage].valueCode = #sent
* extension[standing].extension[since].valueDateTime = "2026-01-14T08:05:00+01:00"
* extension[standing].extension[due].valueDateTime = "2026-01-22T00:00:00+01:00"
* extension[standing].extension[owner].valueReference = Reference(county-imaging)
* extension[standing].extension[patientInformed].valueBoolean = false
* extension[standing].extension[policy].valueString = "default|2026.1"

Extension: ReferralStandingExtension
Id: referral-standing
Title: "Standing of the referral"
Description: "Where the referral stood when the stall was found: stage, since when, by when the next step was due, the date promised to the patient, who can move it, and whether the patient has been told."
Context: DetectedIssue, Task
* extension contains
    stage 1..1 and
    since 1..1 and
    due 0..1 and
    guarantee 0..1 and
    owner 0..1 and
    patientInformed 1..1 and
    policy 0..1
* extension[stage] ^short = "asked | written | sent | received | accepted | scheduled | seen | resulted | returned | closed"
* extension[stage].value[x] 1..1
* extension[stage].value[x] only code
* extension[stage].valueCode from ReferralStageCodes (required)
* extension[since] ^short = "When the wait began"
* extension[since].value[x] 1..1
* extension[since].value[x] only dateTime
* extension[due] ^short = "When it should have ended"
* extension[due].value[x] 1..1
* extension[due].value[x] only dateTime
* extension[guarantee] ^short = "The date promised to the patient by law or agreement"
* extension[guarantee].value[x] 1..1
* extension[guarantee].value[x] only dateTime
* extension[owner] ^short = "Who can move it"
* extension[owner].value[x] 1..1
* extension[owner].value[x] only Reference(Organization or PractitionerRole or Practitioner or HealthcareService or CareTeam)
* extension[patientInformed] ^short = "Whether the patient has been told of everything that happened"
* extension[patientInformed].value[x] 1..1
* extension[patientInformed].value[x] only boolean
* extension[policy] ^short = "Name and version of the deadline policy, such as default|2026.1"
* extension[policy].value[x] 1..1
* extension[policy].value[x] only string

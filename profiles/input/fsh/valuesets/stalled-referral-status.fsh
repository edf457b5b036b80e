ValueSet: StalledReferralStatus
Id: stalled-referral-status
Title: "Status of a stalled referral"
Description: "preliminary: the stall stands. final: it is over. cancelled: it was withdrawn, such as when the referral turned out to be none."
* insert Choice
* http://hl7.org/fhir/observation-status#preliminary
* http://hl7.org/fhir/observation-status#final
* http://hl7.org/fhir/observation-status#cancelled
* http://hl7.org/fhir/observation-status#entered-in-error

Profile: DoNotContact
Parent: CommunicationRequest
Id: do-not-contact
Title: "Do not contact"
Description: "The patient does not want to be written to or called about something, for a time. It silences messages to the patient only, never alerts to staff."
* ^purpose = "Status: active: at the patient's word. revoked: at the patient's word. Source: The patient decides how to be met (migrant clinic, Denmark)."
* status MS
* doNotPerform 1..1 MS
* doNotPerform = true
* subject 1..1 MS
* subject only Reference(Patient)
* about MS
* occurrence[x] MS
* occurrence[x] only Period
* authoredOn 1..1 MS
* requester 1..1 MS
* reasonCode MS
* note MS

Extension: AccommodationExtension
Id: accommodation
Title: "What the person needs in order to come through the visit"
Description: "A special need that the receiving department is told of: what, why in the patient's words, how much more time, and who agreed it."
Context: ServiceRequest, Appointment, Task
* extension contains
    kind 1..1 and
    why 0..1 and
    extraTime 0..1 and
    agreedBy 0..* and
    agreed 0..1
* extension[kind] ^short = "What is needed"
* extension[kind].value[x] 1..1
* extension[kind].value[x] only CodeableConcept
* extension[kind].valueCodeableConcept from AccommodationKindCodes (extensible)
* extension[why] ^short = "Why, in the patient's own words"
* extension[why].value[x] 1..1
* extension[why].value[x] only string
* extension[extraTime] ^short = "How much longer than usual"
* extension[extraTime].value[x] 1..1
* extension[extraTime].value[x] only Duration
* extension[agreedBy] ^short = "Who agreed it: the patient, and whoever promised it"
* extension[agreedBy].value[x] 1..1
* extension[agreedBy].value[x] only Reference(Patient or RelatedPerson or Practitioner or PractitionerRole or Organization)
* extension[agreed] ^short = "When"
* extension[agreed].value[x] 1..1
* extension[agreed].value[x] only dateTime

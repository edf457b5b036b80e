Profile: EverydayLife
Parent: Observation
Id: everyday-life
Title: "Everyday life"
Description: "Work, sick leave, family and home, as far as care has to fit in with them."
* ^purpose = "Status: final: the person who writes it down. amended when life changes. Source: Sick leave, single parents, the self-employed (spinal surgery, Sweden)."
* status MS
* category ^slicing.discriminator.type = #pattern
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains social 1..1 MS
* category[social] = $observation-category#social-history
* code from EverydayLifeCodes (extensible)
* code MS
* subject 1..1 MS
* subject only Reference(Patient)
* effective[x] 1..1 MS
* performer MS
* value[x] 1..1 MS
* value[x] only string or CodeableConcept or Period or Quantity

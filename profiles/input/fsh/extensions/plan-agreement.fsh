Extension: PlanAgreementExtension
Id: plan-agreement
Title: "Agreement to the plan"
Description: "What one person says to the plan as a whole, with the option chosen and the reason. One repetition a person; the latest word of each counts."
Context: CarePlan
* extension contains
    who 1..1 and
    status 1..1 and
    when 1..1 and
    option 0..1 and
    reason 0..1
* extension[who] ^short = "The person who says it"
* extension[who].value[x] 1..1
* extension[who].value[x] only Reference(Patient or RelatedPerson or Practitioner or PractitionerRole)
* extension[status] ^short = "considering | agreed | agreed-in-part | declined | withdrawn"
* extension[status].value[x] 1..1
* extension[status].value[x] only code
* extension[status].valueCode from PlanAgreementStatusCodes (required)
* extension[when] ^short = "When it was said"
* extension[when].value[x] 1..1
* extension[when].value[x] only dateTime
* extension[option] ^short = "The option chosen, as it was described to the person"
* extension[option].value[x] 1..1
* extension[option].value[x] only Reference(DocumentReference)
* extension[reason] ^short = "Why, in the person's own words"
* extension[reason].value[x] 1..1
* extension[reason].value[x] only string

CodeSystem: PlanAgreementStatus
Id: plan-agreement-status
Title: "Agreement to a plan"
Description: "What one person says to a plan as a whole."
* insert Codes
* #considering "Considering" "Needs time; no answer yet, and none is owed."
* #agreed "Agreed" "Agrees to the plan as it stands."
* #agreed-in-part "Agreed in part" "Agrees to some of it; the reason says to what not."
* #declined "Declined" "Does not want this plan."
* #withdrawn "Withdrawn" "Agreed earlier and does not any more."

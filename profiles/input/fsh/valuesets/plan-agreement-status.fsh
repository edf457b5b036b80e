ValueSet: PlanAgreementStatusCodes
Id: plan-agreement-status
Title: "Agreement to a plan"
Description: "What one person says to a plan as a whole."
* insert Choice
* include codes from system PlanAgreementStatus

ValueSet: StallRuleCodes
Id: stall-rule
Title: "What can be wrong with a referral"
Description: "The rules of the referral watch."
* insert Choice
* include codes from system StallRule

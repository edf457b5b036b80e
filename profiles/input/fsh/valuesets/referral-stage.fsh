ValueSet: ReferralStageCodes
Id: referral-stage
Title: "Stage of a referral"
Description: "How far a referral has come, in order."
* insert Choice
* include codes from system ReferralStage

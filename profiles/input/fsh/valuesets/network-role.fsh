ValueSet: NetworkRoleCodes
Id: network-role
Title: "Role in the care team"
Description: "Who somebody is to the patient and the plan."
* insert Choice
* include codes from system NetworkRole

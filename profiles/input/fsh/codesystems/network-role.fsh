CodeSystem: NetworkRole
Id: network-role
Title: "Role in the care team"
Description: "Who somebody is to the patient and the plan."
* insert Codes
* #patient "The patient" "A member of the team, with tasks of their own."
* #relative "Relative or friend" "Somebody close whom the patient has named."
* #coordinator "Coordinator" "The one person to turn to, who keeps the plan together."
* #interpreter "Interpreter" "A colleague who makes understanding possible in both directions."
* #caseworker "Caseworker" "Of the municipality, the employment office or the insurance."
* #treating-professional "Treating professional" "Examines or treats."
* #peer "Peer" "Somebody who has been through the same."

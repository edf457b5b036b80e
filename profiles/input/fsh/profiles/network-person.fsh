Profile: NetworkPerson
Parent: RelatedPerson
Id: network-person
Title: "Person in the patient's network"
Description: "A relative or friend whom the patient has named: who they are to the patient, and from when to when they may be told things. Their part in the plan stands in the care team and in their Tasks."
* ^purpose = "Status: active: the patient's side says who may be told; false ends it. Source: Spouses who read the information at home (spinal surgery, Sweden); social network (migrant clinic, Denmark)."
* active 1..1 MS
* patient MS
* relationship 1..* MS
* name MS
* telecom MS
* period MS
* communication MS
* obeys coprod-network-1

Invariant: coprod-network-1
Description: "A person can be called something: a name, or a relationship in words."
Severity: #error
Expression: "name.exists() or relationship.text.exists()"

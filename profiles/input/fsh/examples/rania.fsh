Instance: rania
InstanceOf: NetworkPerson
Usage: #example
Title: "Rania Mansour, sister"
* active = true
* patient = Reference(amina)
* relationship = $v3-RoleCode#SIS "sister"
* name.family = "Mansour"
* name.given = "Rania"
* telecom.system = #phone
* telecom.value = "+46 555 010 21"
* period.start = "2026-01-13"
* communication.language = $BCP47#sv

Instance: birch-health-centre
InstanceOf: Organization
Usage: #example
Title: "Birch Street Health Centre"
* identifier.system = "https://example.org/organization"
* identifier.value = "birch-health-centre"
* active = true
* type = http://terminology.hl7.org/CodeSystem/organization-type#prov
* name = "Birch Street Health Centre"

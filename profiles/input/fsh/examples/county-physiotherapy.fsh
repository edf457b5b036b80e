Instance: county-physiotherapy
InstanceOf: Organization
Usage: #example
Title: "Physiotherapy, County Hospital"
* identifier.system = "https://example.org/organization"
* identifier.value = "county-physiotherapy"
* active = true
* type = http://terminology.hl7.org/CodeSystem/organization-type#dept
* name = "Physiotherapy, County Hospital"

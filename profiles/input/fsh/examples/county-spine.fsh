Instance: county-spine
InstanceOf: Organization
Usage: #example
Title: "Spine Surgery, County Hospital"
* identifier.system = "https://example.org/organization"
* identifier.value = "county-spine"
* active = true
* type = http://terminology.hl7.org/CodeSystem/organization-type#dept
* name = "Spine Surgery, County Hospital"

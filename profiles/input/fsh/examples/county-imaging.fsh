Instance: county-imaging
InstanceOf: Organization
Usage: #example
Title: "Imaging, County Hospital"
* identifier.system = "https://example.org/organization"
* identifier.value = "county-imaging"
* active = true
* type = http://terminology.hl7.org/CodeSystem/organization-type#dept
* name = "Imaging, County Hospital"

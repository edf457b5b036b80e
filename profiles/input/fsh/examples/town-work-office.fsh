Instance: town-work-office
InstanceOf: Organization
Usage: #example
Title: "Work and Income Office of the town"
* identifier.system = "https://example.org/organization"
* identifier.value = "town-work-office"
* active = true
* type = http://terminology.hl7.org/CodeSystem/organization-type#govt
* name = "Work and Income Office of the town"

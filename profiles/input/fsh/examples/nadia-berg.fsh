Instance: nadia-berg
InstanceOf: Practitioner
Usage: #example
Title: "Nadia Berg, radiographer"
* identifier.system = "https://example.org/staff"
* identifier.value = "nadia-berg"
* name.family = "Berg"
* name.given = "Nadia"

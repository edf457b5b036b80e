Instance: omar-nyberg
InstanceOf: Practitioner
Usage: #example
Title: "Omar Nyberg, spine surgeon"
* identifier.system = "https://example.org/staff"
* identifier.value = "omar-nyberg"
* name.family = "Nyberg"
* name.given = "Omar"

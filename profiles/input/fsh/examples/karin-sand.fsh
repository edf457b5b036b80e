Instance: karin-sand
InstanceOf: Practitioner
Usage: #example
Title: "Karin Sand, caseworker"
* identifier.system = "https://example.org/staff"
* identifier.value = "karin-sand"
* name.family = "Sand"
* name.given = "Karin"

Instance: sara-holm
InstanceOf: Practitioner
Usage: #example
Title: "Sara Holm, nurse and coordinator"
* identifier.system = "https://example.org/staff"
* identifier.value = "sara-holm"
* name.family = "Holm"
* name.given = "Sara"

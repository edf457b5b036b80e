Instance: lisa-ek
InstanceOf: Practitioner
Usage: #example
Title: "Lisa Ek, physiotherapist"
* identifier.system = "https://example.org/staff"
* identifier.value = "lisa-ek"
* name.family = "Ek"
* name.given = "Lisa"

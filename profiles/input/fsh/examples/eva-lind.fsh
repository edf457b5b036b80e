Instance: eva-lind
InstanceOf: Practitioner
Usage: #example
Title: "Eva Lind, general practitioner"
* identifier.system = "https://example.org/staff"
* identifier.value = "eva-lind"
* name.family = "Lind"
* name.given = "Eva"

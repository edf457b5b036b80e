Instance: yusuf-ali
InstanceOf: Practitioner
Usage: #example
Title: "Yusuf Ali, interpreter"
* identifier.system = "https://example.org/staff"
* identifier.value = "yusuf-ali"
* name.family = "Ali"
* name.given = "Yusuf"

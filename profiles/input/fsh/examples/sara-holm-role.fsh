Instance: sara-holm-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Sara Holm as nurse and coordinator"
* active = true
* practitioner = Reference(sara-holm)
* code.text = "Nurse and coordinator"
* organization = Reference(birch-health-centre)

Instance: eva-lind-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Eva Lind as general practitioner"
* active = true
* practitioner = Reference(eva-lind)
* code.text = "General practitioner"
* organization = Reference(birch-health-centre)

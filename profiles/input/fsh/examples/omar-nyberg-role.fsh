Instance: omar-nyberg-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Omar Nyberg as spine surgeon"
* active = true
* practitioner = Reference(omar-nyberg)
* code.text = "Spine surgeon"
* organization = Reference(county-spine)

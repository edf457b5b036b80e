Instance: lisa-ek-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Lisa Ek as physiotherapist"
* active = true
* practitioner = Reference(lisa-ek)
* code.text = "Physiotherapist"
* organization = Reference(county-physiotherapy)

Instance: nadia-berg-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Nadia Berg as radiographer"
* active = true
* practitioner = Reference(nadia-berg)
* code.text = "Radiographer"
* organization = Reference(county-imaging)

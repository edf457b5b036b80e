Instance: karin-sand-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Karin Sand as caseworker"
* active = true
* practitioner = Reference(karin-sand)
* code.text = "Caseworker"
* organization = Reference(town-work-office)

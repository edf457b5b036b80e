Instance: yusuf-ali-role
InstanceOf: PractitionerRole
Usage: #example
Title: "Yusuf Ali as interpreter"
* active = true
* practitioner = Reference(yusuf-ali)
* code.text = "Interpreter"

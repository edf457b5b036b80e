Instance: amina-alone-with-nadia
InstanceOf: PrivateMomentTask
Usage: #example
Title: "A moment without the interpreter"
* meta.security = $v3-ActCode#NOAUTH
* status = #completed
* intent = #order
* code = TaskKind#private-moment
* focus = Reference(mri-appointment)
* for = Reference(amina)
* authoredOn = "2026-01-22T15:20:00+01:00"
* lastModified = "2026-02-05T13:05:00+01:00"
* requester = Reference(amina)
* owner = Reference(nadia-berg-role)
* extension[privateMoment].extension[wanted].valueBoolean = true
* extension[privateMoment].extension[asked].valueDateTime = "2026-01-22"
* extension[privateMoment].extension[without].valueReference = Reference(yusuf-ali)
* extension[privateMoment].extension[happened].valueBoolean = true

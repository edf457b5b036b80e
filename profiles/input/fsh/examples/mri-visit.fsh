Instance: mri-visit
InstanceOf: Encounter
Usage: #example
Title: "At imaging"
* status = #finished
* class = $v3-ActCode#AMB
* subject = Reference(amina)
* basedOn = Reference(mri-referral)
* appointment = Reference(mri-appointment)
* period.start = "2026-02-05T12:40:00+01:00"
* period.end = "2026-02-05T14:05:00+01:00"
* serviceProvider = Reference(county-imaging)

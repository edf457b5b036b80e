Instance: mri-report
InstanceOf: DiagnosticReport
Usage: #example
Title: "What the pictures show"
* basedOn = Reference(mri-referral)
* status = #final
* category = $v2-0074#RAD
* code = $SCT#241648009 "Magnetic resonance imaging of lumbar spine"
* subject = Reference(amina)
* encounter = Reference(mri-visit)
* effectiveDateTime = "2026-02-05T13:30:00+01:00"
* issued = "2026-02-09T14:50:00+01:00"
* performer = Reference(county-imaging)
* conclusion = "Severe central stenosis at L4-L5. No malignancy, no fracture."

Instance: referral-watch
InstanceOf: Device
Usage: #example
Title: "The referral watch"
* deviceName.name = "fhir-coprod referral watch"
* deviceName.type = #user-friendly-name
* type.text = "Software that watches referrals"
* status = #active

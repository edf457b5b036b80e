ValueSet: Visibility
Id: visibility
Title: "Who shall not see it"
Description: "Security labels (meta.security) that keep a resource out of some scopes until a person releases it. NOPAT: staff only; kept from the patient, proxies, relatives and interpreters. NOAUTH: patient and staff only; kept from proxies, relatives and interpreters unless the patient allows it."
* insert Choice
* $v3-ActCode#NOPAT "no disclosure to patient, family or caregivers without attending provider's authorization"
* $v3-ActCode#NOAUTH "no disclosure without subject authorization"

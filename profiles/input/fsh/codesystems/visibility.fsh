CodeSystem: Visibility
Id: visibility
Title: "Who shall not see it"
Description: "Security labels that keep a resource out of some scopes until a person releases it."
* insert Codes
* #staff-only "Staff only" "Kept from the patient, from proxies and relatives, and from interpreters."
* #patient-and-staff "Patient and staff only" "Kept from proxies and relatives, and from interpreters."
* #not-for-interpreter "Not for the interpreter" "Kept from interpreters."

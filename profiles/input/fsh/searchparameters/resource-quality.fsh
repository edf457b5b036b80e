Instance: resource-quality
InstanceOf: SearchParameter
Usage: #definition
* url = "https://fhir-coprod.org/ig/SearchParameter/resource-quality"
* version = "0.1.0"
* name = "ResourceQuality"
* status = #active
* experimental = false
* base[0] = #Resource
* code = #quality
* type = #token
* description = "not-valid: a record of an EHR or a file that was taken in although it breaks a rule of FHIR or of a profile that it claims; valid: any other. The server keeps this beside the record, so there is no path to it."

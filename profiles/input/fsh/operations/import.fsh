Instance: import
InstanceOf: OperationDefinition
Usage: #definition
Title: "Import of NDJSON"
* url = "https://fhir-coprod.org/ig/OperationDefinition/import"
* version = "0.1.0"
* name = "Import"
* title = "Import of NDJSON"
* status = #active
* experimental = false
* kind = #operation
* affectsState = true
* code = #import
* description = "Stores resources of any type. They are the body itself, one in each line, as application/fhir+ndjson. The answer is 202 with the address where to ask how far it is."
* system = true
* type = false
* instance = false

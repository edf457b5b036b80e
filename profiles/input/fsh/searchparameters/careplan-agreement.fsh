Instance: careplan-agreement
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(CarePlan, agreement, token)
* url = "https://fhir-coprod.org/ig/SearchParameter/careplan-agreement"
* name = "CareplanAgreement"
* expression = "CarePlan.extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/plan-agreement').extension.where(url = 'status').value"
* description = "What somebody says to the plan as a whole."

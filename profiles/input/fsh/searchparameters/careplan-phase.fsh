Instance: careplan-phase
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(CarePlan, phase, token)
* url = "https://fhir-coprod.org/ig/SearchParameter/careplan-phase"
* name = "CareplanPhase"
* expression = "CarePlan.extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/coproduction-phase').value"
* description = "Phase of the coproduction cycle."

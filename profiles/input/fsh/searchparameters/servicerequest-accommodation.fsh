Instance: servicerequest-accommodation
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(ServiceRequest, accommodation, token)
* url = "https://fhir-coprod.org/ig/SearchParameter/servicerequest-accommodation"
* name = "ServicerequestAccommodation"
* expression = "ServiceRequest.extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/accommodation').extension.where(url = 'kind').value"
* description = "What the patient needs in order to come through the visit."

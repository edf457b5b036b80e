Instance: documentreference-based-on
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(DocumentReference, based-on, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/documentreference-based-on"
* name = "DocumentReferenceBasedOn"
* expression = "DocumentReference.extension.where(url = 'http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.basedOn').value"
* description = "The request that a document answers. R4 has no such element; R5's is carried as an extension."
* target[+] = #ServiceRequest

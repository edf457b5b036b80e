Instance: communication-in-response-to
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Communication, in-response-to, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/communication-in-response-to"
* name = "CommunicationInResponseTo"
* expression = "Communication.inResponseTo"
* description = "The communication that this one answers."
* target[+] = #Communication

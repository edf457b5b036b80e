Instance: communicationrequest-about
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(CommunicationRequest, about, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/communicationrequest-about"
* name = "CommunicationRequestAbout"
* expression = "CommunicationRequest.about"
* description = "What somebody wants, or does not want, to be told about. R4 has no such parameter; the referral watch asks whether the patient objected to messages about a referral."
* target[+] = #ServiceRequest
* target[+] = #Task
* target[+] = #Appointment

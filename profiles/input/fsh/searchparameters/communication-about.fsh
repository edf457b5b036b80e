Instance: communication-about
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Communication, about, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/communication-about"
* name = "CommunicationAbout"
* expression = "Communication.about"
* description = "What a communication is about. R4 has no such parameter; the referral watch asks whether the patient was told about a referral."

Instance: communication-topic
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Communication, topic, token)
* url = "https://fhir-coprod.org/ig/SearchParameter/communication-topic"
* name = "CommunicationTopic"
* expression = "Communication.topic"
* description = "The subject of a communication."

ValueSet: CommunicationTopicCodes
Id: communication-topic
Title: "What a communication is about"
Description: "The subject of a message or a conversation between patient and professionals, or between departments."
* insert Choice
* include codes from system CommunicationTopic

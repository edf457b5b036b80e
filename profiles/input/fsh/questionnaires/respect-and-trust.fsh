Instance: respect-and-trust
InstanceOf: Questionnaire
Title: "Respect and trust"
Description: "Seven short questions and one free line, for the patient to answer or leave."
Usage: #definition
* url = "https://fhir-coprod.org/ig/Questionnaire/respect-and-trust"
* version = "0.1.0"
* name = "RespectAndTrust"
* title = "How were you met?"
* status = #active
* experimental = false
* subjectType = #Patient
* description = "Respect, trust and being heard, as the patient rates it. Ours, free to use; built on what patients said in the founding studies: being seen, taken seriously, told what and why."
* insert Rating(heard, "I was listened to\, and had time to tell.")
* insert Rating(seriously, "What I said was taken seriously.")
* insert Rating(person, "I was met as the person I am\, with the life I have.")
* insert Rating(what-and-why, "I was told what would happen and why\, in words I understood.")
* insert Rating(decided, "I had as much part in deciding as I wanted.")
* insert Rating(kept, "What we agreed on was done\, and I did not have to chase it.")
* insert Rating(trust, "I trust the people who look after me here.")
* item[7].linkId = "words"
* item[=].text = "Anything you want to tell us, in your own words."
* item[=].type = #text
* item[=].required = false

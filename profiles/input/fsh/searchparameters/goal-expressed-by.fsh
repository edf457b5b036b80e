Instance: goal-expressed-by
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Goal, expressed-by, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/goal-expressed-by"
* name = "GoalExpressedBy"
* expression = "Goal.expressedBy"
* description = "Whose words the goal is in."
* target[+] = #Patient
* target[+] = #Practitioner
* target[+] = #PractitionerRole
* target[+] = #RelatedPerson

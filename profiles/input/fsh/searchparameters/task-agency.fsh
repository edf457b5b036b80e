Instance: task-agency
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Task, agency, token)
* url = "https://fhir-coprod.org/ig/SearchParameter/task-agency"
* name = "TaskAgency"
* expression = "Task.extension.where(url = 'https://fhir-coprod.org/ig/StructureDefinition/agency').extension.where(url = 'level').value"
* description = "Who leads in a task."

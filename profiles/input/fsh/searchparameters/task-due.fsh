Instance: task-due
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Task, due, date)
* url = "https://fhir-coprod.org/ig/SearchParameter/task-due"
* name = "TaskDue"
* expression = "Task.restriction.period"
* description = "By when a task is agreed to be done, or a hold reviewed."

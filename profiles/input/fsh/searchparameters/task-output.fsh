Instance: task-output
InstanceOf: SearchParameter
Usage: #definition
* insert OwnSearch(Task, output, reference)
* url = "https://fhir-coprod.org/ig/SearchParameter/task-output"
* name = "TaskOutput"
* expression = "Task.output.value.ofType(Reference)"
* description = "What came of a task."

Instance: standing
InstanceOf: OperationDefinition
Usage: #definition
Title: "Standing of a referral"
* url = "https://fhir-coprod.org/ig/OperationDefinition/standing"
* version = "0.1.0"
* name = "Standing"
* title = "Standing of a referral"
* status = #active
* experimental = false
* kind = #operation
* affectsState = false
* code = #standing
* description = "Where a referral is, since when, what would move it on, by when that is due, and what is wrong. Writes nothing; with now or policy it asks what-if."
* resource = #ServiceRequest
* system = false
* type = false
* instance = true
* parameter[0].name = #now
* parameter[=].use = #in
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "The time to assess it at; the present when absent."
* parameter[=].type = #dateTime
* parameter[+].name = #policy
* parameter[=].use = #in
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "Name of the deadline policy; the one of the site when absent."
* parameter[=].type = #string
* parameter[+].name = #referral
* parameter[=].use = #out
* parameter[=].min = 1
* parameter[=].max = "1"
* parameter[=].documentation = "The referral."
* parameter[=].type = #Reference
* parameter[+].name = #patient
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "The patient."
* parameter[=].type = #Reference
* parameter[+].name = #stage
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "A code of CodeSystem referral-stage; absent when it is no referral at that time."
* parameter[=].type = #code
* parameter[+].name = #since
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "When the stage began."
* parameter[=].type = #instant
* parameter[+].name = #due
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "When the next step is due."
* parameter[=].type = #instant
* parameter[+].name = #owner
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "Who has it now."
* parameter[=].type = #Reference
* parameter[+].name = #stall
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "*"
* parameter[=].documentation = "Something that should have happened by now and has not."
* parameter[=].part[0].name = #rule
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "A code of CodeSystem stall-rule."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #since
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When the wait began."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #due
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When it should have ended."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #owner
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "Who can move it."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #task
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "The Task it is about."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #severity
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "high, moderate or low."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #missing
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "What is missing, in words."
* parameter[=].part[=].type = #string
* parameter[+].name = #note
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "*"
* parameter[=].documentation = "A soft note to an author, never an alert."
* parameter[=].part[0].name = #rule
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "A code of CodeSystem stall-rule."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #since
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When it began."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #due
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When it should have ended."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #owner
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "Whom it is for."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #task
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "The Task it is about."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #severity
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "high, moderate or low."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #missing
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "What is missing, in words."
* parameter[=].part[=].type = #string
* parameter[+].name = #scope
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "referral, diagnostic, out or unclear: what the watch takes the order for; absent when there is no order at that time."
* parameter[=].type = #code
* parameter[+].name = #inScope
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "Why, in words that can follow because."
* parameter[=].type = #string
* parameter[+].name = #counted
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "*"
* parameter[=].documentation = "The same, where it raises no alert of its own: it is counted, or on the list of a department."
* parameter[=].part[0].name = #rule
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "A code of CodeSystem stall-rule."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #since
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When the wait began."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #due
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 1
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "When it should have ended."
* parameter[=].part[=].type = #instant
* parameter[=].part[+].name = #owner
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "Who can move it."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #task
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "The Task it is about."
* parameter[=].part[=].type = #Reference
* parameter[=].part[+].name = #severity
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "high, moderate or low."
* parameter[=].part[=].type = #code
* parameter[=].part[+].name = #missing
* parameter[=].part[=].use = #out
* parameter[=].part[=].min = 0
* parameter[=].part[=].max = "1"
* parameter[=].part[=].documentation = "What is missing, in words."
* parameter[=].part[=].type = #string
* parameter[+].name = #notObservable
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "*"
* parameter[=].documentation = "A resource type that matters now and cannot be seen: no stall is claimed from its absence."
* parameter[=].type = #code
* parameter[+].name = #patientInformed
* parameter[=].use = #out
* parameter[=].min = 1
* parameter[=].max = "1"
* parameter[=].documentation = "Whether the patient has been told of everything that happened."
* parameter[=].type = #boolean
* parameter[+].name = #guarantee
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "The date promised to the patient."
* parameter[=].type = #instant
* parameter[+].name = #policy
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "Name and version of the policy that was used."
* parameter[=].type = #string
* parameter[+].name = #explanation
* parameter[=].use = #out
* parameter[=].min = 0
* parameter[=].max = "1"
* parameter[=].documentation = "The verdict in one sentence."
* parameter[=].type = #string

CodeSystem: BarrierKind
Id: barrier-kind
Title: "What stands in the way"
Description: "What keeps a person from a goal."
* insert Codes
* #fear "Fear" "Of an examination, an operation, or what may be found."
* #pain "Pain" "Or fatigue."
* #language "Language" "No common language, or no interpreter."
* #money "Money" "Costs, or lost pay."
* #work "Work" "Hours, demands, or the employer."
* #care-of-others "Care of others" "Nobody else to look after children or parents."
* #transport "Transport" "No way to get there."
* #waiting "Waiting" "For a referral, a result or an appointment."
* #trust "Trust" "Earlier experience with care."
* #not-informed "Not informed" "The person does not know what will happen or why."

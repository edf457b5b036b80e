CodeSystem: CoproductionObservation
Id: coproduction-observation
Title: "Observations in coproduction"
Description: "What is observed about how coproduction goes, mostly as the patient says it."
* insert Codes
* #readiness "Readiness" "How ready the person feels to begin, 0 (not at all) to 10 (completely)."
* #confidence "Confidence" "How sure the person is of managing it, 0 (not at all) to 10 (completely)."
* #importance "Importance" "How much it matters to the person, 0 (not at all) to 10 (more than anything)."
* #capability "Capability" "What the person can do and wants to do now, in their own words."
* #teach-back "Teach-back" "Whether the person could say in their own words what was explained."
* #barrier "Barrier" "What stands in the way of a goal."
* #work "Work" "Occupation, demands of the work, who depends on it."
* #sick-leave "Sick leave" "From when to when, and how much."
* #family-care "Care of others" "Children, parents or others who depend on the person."
* #home "Home" "How and with whom the person lives."
* #economy "Economy" "What being ill costs, and what that prevents."
* #transport "Transport" "How the person gets to places."
* #daily-activities "Daily activities" "What the person does in a day, and what has become difficult."

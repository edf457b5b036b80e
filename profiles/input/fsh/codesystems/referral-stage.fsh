CodeSystem: ReferralStage
Id: referral-stage
Title: "Stage of a referral"
Description: "How far a referral has come, in order."
* insert Codes
* #asked "Asked" "The patient asks for a referral that nobody has written."
* #written "Written" "There is a ServiceRequest, and no department has been given a Task."
* #sent "Sent" "A department has been asked (Task requested or ready)."
* #received "Received" "The department says that it has it (Task received)."
* #accepted "Accepted" "The department will see the patient (Task accepted or in progress)."
* #scheduled "Scheduled" "An Appointment is booked."
* #seen "Seen" "The patient was there."
* #resulted "Resulted" "There is a final report or document."
* #returned "Returned" "The one who asked has been sent it."
* #closed "Closed" "The ServiceRequest has ended, nothing is live any more, and the patient has been told."

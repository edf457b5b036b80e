Profile: CoproductionAppointment
Parent: Appointment
Id: coproduction-appointment
Title: "Appointment that fits the person"
Description: "A visit for a referral, or a meeting with others of the network: who comes (interpreter and caseworker too), and what the person needs. A moment alone stands on a Task of its own, which the interpreter does not see."
* ^purpose = "Status: booked, cancelled, noshow, fulfilled: the department. A missed visit is a question, not a closure. Source: Extra time set aside; network meetings (migrant clinic, Denmark)."
* status MS
* cancelationReason MS
* basedOn MS
* basedOn only Reference(ServiceRequest)
* created MS
* start MS
* end MS
* description MS
* patientInstruction MS
* participant MS
* participant.actor MS
* extension contains
    AccommodationExtension named accommodation 0..* MS
* obeys coprod-appointment-1 and coprod-appointment-2

Invariant: coprod-appointment-1
Description: "The patient is one of the participants."
Severity: #error
Expression: "participant.actor.reference.where(contains('Patient/')).exists()"

Invariant: coprod-appointment-2
Description: "A cancelled appointment says why."
Severity: #warning
Expression: "status = 'cancelled' implies cancelationReason.exists()"

Profile: CoproductionAppointment
Parent: Appointment
Id: coproduction-appointment
Title: "Appointment that fits the person"
Description: "A visit for a referral, or a meeting with others of the network: who comes (interpreter and caseworker too), what the person needs, and a moment alone."
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
    AccommodationExtension named accommodation 0..* MS and
    PrivateMomentExtension named privateMoment 0..1 MS
* obeys coprod-appointment-1 and coprod-appointment-2

Invariant: coprod-appointment-1
Description: "The patient is one of the participants."
Severity: #error
Expression: "participant.actor.reference.where(contains('Patient/')).exists()"

Invariant: coprod-appointment-2
Description: "A cancelled appointment says why."
Severity: #warning
Expression: "status = 'cancelled' implies cancelationReason.exists()"

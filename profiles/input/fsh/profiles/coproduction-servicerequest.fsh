Profile: CoproductionServiceRequest
Parent: ServiceRequest
Id: coproduction-servicerequest
Title: "Referral, or the patient's request for one"
Description: "What is asked for, by whom, why, which goal it serves, and what the patient needs in order to come through it. A patient asks by intent proposal; a professional's answer is basedOn it. Each department asked has a referral Task of its own."
* ^purpose = "Status: A patient's request: active until it is answered, completed by the professional whose order is basedOn it, revoked with a word to the patient. An order: draft and active by its requester; completed by the requester once the result is reviewed and the patient told; revoked by the requester. A rejected Task leaves it active. Source: 'I had to fight nearly two years'; 'my referrals got lost' (spinal surgery, Sweden); extra time and fear passed on to the lung department (migrant clinic, Denmark)."
* status MS
* intent MS
* priority MS
* doNotPerform MS
* code 1..1 MS
* code ^short = "What is asked for; text alone is enough"
* subject only Reference(Patient)
* subject MS
* authoredOn MS
* requester 1..1 MS
* performerType MS
* performer MS
* performer ^short = "The department asked"
* reasonCode MS
* reasonReference MS
* supportingInfo MS
* note MS
* patientInstruction MS
* patientInstruction ^short = "What and why, in words for the patient"
* basedOn MS
* replaces MS
* requisition MS
* extension contains
    AccommodationExtension named accommodation 0..* MS and
    $pertainsToGoal named goal 0..* MS
* obeys coprod-referral-1 and coprod-referral-2 and coprod-referral-3 and coprod-referral-4

Invariant: coprod-referral-1
Description: "What a patient or relative asks for is a proposal; the order is a professional's, basedOn it."
Severity: #error
Expression: "requester.reference.where(contains('Patient/') or contains('RelatedPerson/')).exists() implies intent = 'proposal'"

Invariant: coprod-referral-2
Description: "A referral that is not a draft says when it was written: every deadline starts there."
Severity: #error
Expression: "status = 'draft' or status = 'entered-in-error' or authoredOn.exists()"

Invariant: coprod-referral-3
Description: "A referral should say why it is written."
Severity: #warning
Expression: "reasonCode.exists() or reasonReference.exists()"

Invariant: coprod-referral-4
Description: "What is asked for has a code or words."
Severity: #error
Expression: "code.coding.code.exists() or code.text.exists()"

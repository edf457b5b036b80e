Instance: amina-asks-for-mri
InstanceOf: CoproductionServiceRequest
Usage: #example
Title: "What Amina asked for, as a proposal"
* status = #completed
* intent = #proposal
* code.text = "Somebody to look inside my back"
* subject = Reference(amina)
* authoredOn = "2026-01-08T19:40:00+01:00"
* requester = Reference(amina)
* performer = Reference(birch-health-centre)
* reasonCode.text = "The pain goes down my left leg like fire when I stand at the oven"

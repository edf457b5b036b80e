Instance: amina-episode
InstanceOf: CoproductionEpisode
Usage: #example
Title: "One nurse keeps it together"
* status = #active
* patient = Reference(amina)
* managingOrganization = Reference(birch-health-centre)
* period.start = "2026-01-13"
* referralRequest[0] = Reference(mri-referral)
* referralRequest[+] = Reference(surgery-referral)
* careManager = Reference(sara-holm-role)
* team = Reference(amina-team)

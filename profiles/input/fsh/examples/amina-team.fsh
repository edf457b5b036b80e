Instance: amina-team
InstanceOf: CoproductionCareTeam
Usage: #example
Title: "The people around Amina, on both sides"
* status = #active
* subject = Reference(amina)
* name = "The people around Amina"
* period.start = "2026-01-13"
* participant[0].role = NetworkRole#patient
* participant[=].member = Reference(amina)
* participant[+].role = NetworkRole#relative
* participant[=].member = Reference(rania)
* participant[+].role = NetworkRole#coordinator
* participant[=].member = Reference(sara-holm-role)
* participant[=].period.start = "2026-01-13"
* participant[+].role = NetworkRole#treating-professional
* participant[=].member = Reference(omar-nyberg-role)
* participant[=].period.start = "2026-03-02"
* participant[+].role = NetworkRole#treating-professional
* participant[=].member = Reference(lisa-ek-role)
* participant[=].period.start = "2026-04-15"
* participant[+].role = NetworkRole#interpreter
* participant[=].member = Reference(yusuf-ali-role)
* participant[=].period.start = "2026-01-13"
* participant[+].role = NetworkRole#caseworker
* participant[=].member = Reference(karin-sand)
* participant[=].onBehalfOf = Reference(town-work-office)
* participant[=].period.start = "2026-03-20"

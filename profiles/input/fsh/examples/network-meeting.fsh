Instance: network-meeting
InstanceOf: CoproductionAppointment
Usage: #example
Title: "Meeting with the caseworker about sick leave"
* status = #fulfilled
* description = "How the bakery and sick leave go together"
* start = "2026-03-20T09:00:00+01:00"
* end = "2026-03-20T10:00:00+01:00"
* created = "2026-03-16T14:10:00+01:00"
* participant[0].actor = Reference(amina)
* participant[=].status = #accepted
* participant[+].actor = Reference(karin-sand)
* participant[=].status = #accepted
* participant[+].actor = Reference(sara-holm-role)
* participant[=].status = #accepted

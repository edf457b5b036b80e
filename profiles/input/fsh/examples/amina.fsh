Instance: amina
InstanceOf: CoproductionPatient
Usage: #example
Title: "Amina Mansour, invented"
* identifier.system = "https://example.org/person"
* identifier.value = "19790402-0000"
* active = true
* name.use = #official
* name.family = "Mansour"
* name.given = "Amina"
* telecom.system = #phone
* telecom.value = "+46 555 010 20"
* telecom.use = #mobile
* telecom.extension[OriginExtension].valueUri = "https://ehr.example.org/imaging/fhir/Patient/7041"
* gender = #female
* birthDate = "1979-04-02"
* communication[0].language = $BCP47#ar
* communication[=].preferred = true
* communication[+].language = $BCP47#sv
* extension[interpreterRequired].valueBoolean = true

Instance: amina-father
InstanceOf: FamilyMember
Usage: #example
Title: "Father of Amina"
* status = #completed
* patient = Reference(amina)
* date = "2026-01-13"
* relationship = $v3-RoleCode#FTH "father"
* sex = http://hl7.org/fhir/administrative-gender#male
* deceasedBoolean = true
* condition.code.text = "Died during an examination of the lungs"
* note.authorReference = Reference(sara-holm)
* note.time = "2026-01-13T11:10:00+01:00"
* note.text = "This is why Amina fears examinations where she cannot get out by herself."

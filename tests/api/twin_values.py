"""What the searches of the differential look for: values by type and parameter, chains, includes, sorts."""

from __future__ import annotations

from tests.api import twin_records as pool

PREFIXES = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")

TOKENS: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "gender": ("male", "female", "http://hl7.org/fhir/administrative-gender|other"),
        "active": ("true", "false"),
        "identifier": (
            "urn:mrn|7",
            "7",
            "urn:pnr|",
            "|7",
            r"A\,1\|x",
            r"urn:mrn|A\,1\|x",
            "a b",
            r"x\$y",
            "nobody",
        ),
        "telecom": ("phone|070-123", "070-123", "a@b.example"),
        "phone": ("070-123",),
        "email": ("a@b.example",),
        "_tag": ("urn:tag|t1", "t1", "urn:other|", "urn:tag|t3"),
        "_security": ("urn:sec|R", "N"),
        "_id": ("pati-1", "pati-2", "nobody"),
    },
    "Encounter": {"status": ("planned", "finished"), "class": ("AMB", "IMP"), "_tag": ("t2",)},
    "Condition": {
        "clinical-status": ("active", "http://terminology.hl7.org/CodeSystem/condition-clinical|resolved"),
        "code": ("8867-4", f"{pool.LOINC}|8867-4", f"{pool.LOCAL}|", "|8867-4", f"{pool.SCT}|279039007"),
    },
    "Observation": {
        "status": ("final", "amended", "http://hl7.org/fhir/observation-status|final"),
        "code": ("8867-4", f"{pool.LOINC}|8867-4", f"{pool.LOCAL}|", "|8867-4", rf"{pool.LOCAL}|A\,B\|C"),
        "category": ("29463-7", f"{pool.SCT}|"),
        "combo-code": ("8867-4", f"{pool.LOINC}|8480-6"),
        "component-code": (f"{pool.LOINC}|8480-6", "8462-4"),
        "value-concept": ("8867-4", f"{pool.SCT}|279039007"),
    },
    "ServiceRequest": {
        "status": ("active", "draft", "revoked"),
        "intent": ("order",),
        "priority": ("urgent", "routine"),
        "code": (f"{pool.SCT}|241648009", "8867-4"),
        "identifier": ("urn:mrn|3", "12"),
    },
    "Task": {
        "status": ("requested", "completed"),
        "intent": ("order",),
        "code": ("8867-4",),
        "identifier": ("urn:pnr|3", "|3"),
    },
    "Location": {"status": ("active", "suspended")},
    "Organization": {"active": ("true", "false"), "identifier": ("urn:mrn|",)},
    "ValueSet": {"status": ("active", "retired"), "version": ("1.0", "2.0")},
    "Questionnaire": {"status": ("active", "retired"), "version": ("0.0", "1.0")},
    "QuestionnaireResponse": {"status": ("completed", "in-progress")},
    "MedicationRequest": {"status": ("active", "stopped"), "code": ("8867-4", f"{pool.SCT}|")},
}
TEXTS = {"Condition": "code", "Observation": "code", "ServiceRequest": "code", "Task": "code"}
STRINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "family": (*pool.FAMILIES, "åke", "BERG", "van", "o'h", "oh", "strass", "l", "nguyen", "nobody"),
        "given": (*pool.GIVEN, "an", "zo", "karl"),
        "name": ("berg", "anna", "dr", "Zoë", "O'Hara"),
        "address": ("malmö", "malmo", "211", "SE"),
        "address-city": (*pool.CITIES, "st", "göte"),
        "address-postalcode": ("211 20", "21120", "211"),
    },
    "Practitioner": {"family": ("berg", "Müller", "ng"), "name": ("anna", "muller")},
    "Organization": {"name": ("clinic", "Clinic", "över", "Hospital")},
    "Location": {"name": ("Ward 1", "ward", "theatre")},
    "ValueSet": {"title": ("invented", "Things, invented"), "name": ("Inv",)},
    "Questionnaire": {"title": ("before", "visit", "After the visit")},
    "Observation": {"value-string": ("high", "High", "very")},
}
DATES = {
    "Patient": ("birthdate",),
    "Encounter": ("date",),
    "Condition": ("onset-date", "recorded-date"),
    "Observation": ("date", "value-date"),
    "ServiceRequest": ("authored", "occurrence"),
    "Task": ("authored-on", "modified", "period"),
    "CarePlan": ("date",),
    "RiskAssessment": ("date",),
}
WHEN = (
    *("2019", "2020", "2020-02", "2023-12", "2020-02-14", "2023-01-28", "1999", "2020-02-14T09:30"),
    *(
        "2020-02-14T09:30:00Z",
        "2020-02-14T09:30:00+01:00",
        "2023-01-01T00:00:00Z",
        "2023-01-01T12:00:00.500Z",
    ),
)
NUMBERS = ("100", "100.0", "100.00", "99.6", "5.4", "5.40", "0", "-3", "1e2", "37", "0.05", "1000.0")
PROBABILITIES = ("0.8", "0.80", "0.75", "0.1", "1", "0.805", "0.9")
REFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "Patient": {
        "general-practitioner": ("Practitioner/prac-1", "Organization/orga-1", "prac-2"),
        "organization": ("Organization/orga-0", "orga-1"),
    },
    "Encounter": {"subject": ("Patient/pati-1", "pati-2"), "part-of": ("Encounter/enco-1",)},
    "Condition": {"subject": ("Patient/pati-1", "pati-3"), "patient": ("Patient/pati-2", "pati-4")},
    "Observation": {
        "subject": ("Patient/pati-1", "pati-2", "Patient/nobody"),
        "patient": ("Patient/pati-3", "pati-4"),
        "performer": ("Practitioner/prac-1", "Organization/orga-2"),
        "encounter": ("Encounter/enco-1", "enco-2"),
        "has-member": ("Observation/obse-1", "Observation/obse-2"),
    },
    "ServiceRequest": {
        "subject": ("Patient/pati-1", "pati-2"),
        "requester": ("Practitioner/prac-1", "prac-2"),
        "performer": ("Organization/orga-1",),
        "based-on": ("ServiceRequest/serv-1",),
        "instantiates-canonical": ("http://x.example/plan", "http://x.example/plan|1.0"),
    },
    "Task": {
        "focus": ("ServiceRequest/serv-1", "serv-2"),
        "owner": ("Organization/orga-1", "Practitioner/prac-1"),
        "patient": ("Patient/pati-1", "pati-2"),
        "subject": ("Patient/pati-3",),
    },
    "QuestionnaireResponse": {
        "questionnaire": (pool.FORMS[0], f"{pool.FORMS[0]}|1.0", f"{pool.FORMS[1]}|9.9"),
        "subject": ("Patient/pati-1", "Patient/pati-2"),
    },
    "MedicationRequest": {"medication": ("Medication/medi-1", "medi-2"), "subject": ("Patient/pati-1",)},
}
URIS = {"ValueSet": "url", "ServiceRequest": "instantiates-uri"}
PAIRS = {
    "code-value-quantity": ("8867-4$gt5", f"{pool.LOINC}|8867-4$le100", "29463-7$100"),
    "component-code-value-quantity": ("8480-6$gt5", f"{pool.LOINC}|8462-4$le100", "8480-6$37.25"),
}
CHAINS = {
    "Observation": (
        ("subject:Patient.family", "berg"),
        ("patient.family", "Öberg"),
        ("patient.birthdate", "ge2020"),
        ("patient.identifier", "urn:mrn|7"),
        ("subject:Patient.general-practitioner:Practitioner.family", "ng"),
        ("performer:Organization.name", "clinic"),
        ("performer.name", "clinic"),
        ("performer.name", "berg,clinic"),
        ("subject.name", "berg"),
        ("encounter.status", "finished"),
        ("encounter.service-provider.name", "hospital"),
        ("patient.gender", "male,female"),
        ("has-member.status", "final"),
    ),
    "Task": (
        ("focus:ServiceRequest.status", "active"),
        ("focus:ServiceRequest.patient.family", "berg"),
        ("owner:Organization.name", "clinic"),
        ("owner.name", "clinic"),
        ("patient.birthdate", "lt2020"),
    ),
    "ServiceRequest": (
        ("patient.family", "åkesson"),
        ("requester:Practitioner.family", "berg"),
        ("performer:Organization.active", "true"),
        ("based-on.status", "draft"),
    ),
    "Encounter": (("service-provider.name", "över"), ("part-of.status", "planned")),
    "QuestionnaireResponse": (
        ("questionnaire:Questionnaire.title", "before"),
        ("questionnaire.status", "active"),
        ("questionnaire.version", "1.0"),
        ("patient.family", "berg"),
    ),
    "MedicationRequest": (
        ("medication.code", "8867-4"),
        ("medication:Medication.code", f"{pool.SCT}|"),
        ("medication.manufacturer.name", "clinic"),
        ("medication:Medication.code:not", "8867-4"),
    ),
}
HAS = {
    "Patient": (
        ("_has:Observation:patient:code", "8867-4"),
        ("_has:Observation:subject:status", "amended"),
        ("_has:Observation:patient:performer.name", "clinic"),
        ("_has:Encounter:patient:date", "ge2023"),
        ("_has:Task:patient:focus:ServiceRequest.status", "active"),
        ("_has:ServiceRequest:patient:_has:Task:focus:status", "requested"),
        ("_has:Condition:patient:clinical-status", "active"),
    ),
    "Organization": (("_has:Patient:organization:gender", "male"), ("_has:Task:owner:status", "requested")),
    "ServiceRequest": (
        ("_has:Task:focus:status", "rejected"),
        ("_has:ServiceRequest:based-on:status", "draft"),
    ),
    "Practitioner": (("_has:Patient:general-practitioner:active", "true"),),
    "Questionnaire": (
        ("_has:QuestionnaireResponse:questionnaire:status", "completed"),
        ("_has:QuestionnaireResponse:questionnaire:patient.family", "berg"),
    ),
}
INCLUDES = {
    "Observation": (
        ("_include", "Observation:subject"),
        ("_include", "Observation:performer:Organization"),
        ("_include", "Observation:encounter"),
        ("_include", "Observation:has-member"),
        ("_include", "Observation:*"),
        ("_revinclude", "Observation:has-member"),
    ),
    "Task": (
        ("_include", "Task:focus"),
        ("_include", "Task:owner"),
        ("_include", "Task:patient"),
        ("_include:iterate", "ServiceRequest:requester"),
        ("_include:iterate", "ServiceRequest:based-on"),
    ),
    "ServiceRequest": (
        ("_include", "ServiceRequest:requester:Practitioner"),
        ("_include", "ServiceRequest:based-on"),
        ("_include:iterate", "ServiceRequest:based-on"),
        ("_revinclude", "Task:focus"),
        ("_revinclude:iterate", "Task:focus"),
    ),
    "Patient": (
        ("_include", "Patient:general-practitioner"),
        ("_include", "Patient:organization"),
        ("_include:iterate", "Organization:partof"),
        ("_revinclude", "Encounter:patient"),
        ("_revinclude", "Task:patient"),
    ),
    "QuestionnaireResponse": (
        ("_include", "QuestionnaireResponse:questionnaire"),
        ("_include", "QuestionnaireResponse:subject"),
        ("_include", "QuestionnaireResponse:*"),
    ),
    "Questionnaire": (
        ("_revinclude", "QuestionnaireResponse:questionnaire"),
        ("_revinclude", "QuestionnaireResponse:*"),
    ),
    "MedicationRequest": (
        ("_include", "MedicationRequest:medication"),
        ("_include", "MedicationRequest:subject"),
    ),
}
SORTS = {
    "Patient": ("family", "-family", "birthdate", "-birthdate", "gender,birthdate", "_id", "-_id"),
    "Observation": ("date", "-date", "status,_id", "value-quantity", "-value-quantity"),
    "ServiceRequest": ("authored", "-authored", "status,-authored"),
    "Task": ("-authored-on", "status,_id", "-modified"),
    "ValueSet": ("url", "title"),
    "RiskAssessment": ("probability", "-probability"),
}

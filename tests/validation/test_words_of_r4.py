"""What R4 states in words about resources, Bundles and references: what is valid, and what is told where."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import definitions, validate
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.validator import default
from tests.validation.fast.test_tiers import agree
from tests.validation.small import HL7, HL7_CODES, NARRATIVE, observation, patient, placed

UUID = "33333333-3333-4333-8333-333333333333"


def told(div: str) -> Json:
    return patient(text={"status": "generated", "div": div})


def within(inside: str) -> Json:
    return told(f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>')


def bundle(kind: str, *entries: Json, **members: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **members}


def entry(url: str, resource: Json) -> Json:
    return {"fullUrl": url, "resource": resource}


HERE = "https://a.example/fhir/"
ANN = entry(f"{HERE}Patient/ann", patient(id="ann"))
GEORG = entry(
    f"{HERE}Practitioner/georg",
    {"resourceType": "Practitioner", "id": "georg", "text": {"status": "generated", "div": NARRATIVE}},
)


def document(*others: Json, **members: Any) -> Json:
    composition = {
        "resourceType": "Composition",
        "id": "c",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "final",
        "type": {"text": "Letter"},
        "date": "2026-01-01",
        "title": "Letter",
        "subject": {"reference": "Patient/ann"},
        "author": [{"reference": "Practitioner/georg"}],
        **members,
    }
    return bundle(
        "document",
        entry(f"{HERE}Composition/c", {k: v for k, v in composition.items() if v is not None}),
        *others,
        identifier={"system": "urn:x", "value": "1"},
        timestamp="2026-01-01T00:00:00Z",
    )


def message(focus: str, *others: Json) -> Json:
    header = {
        "resourceType": "MessageHeader",
        "text": {"status": "generated", "div": NARRATIVE},
        "eventUri": "https://a.example/event",
        "source": {"endpoint": "https://a.example"},
        "focus": [{"reference": focus}],
    }
    return bundle("message", entry(f"urn:uuid:{UUID}", header), *others)


def seen(number: int, **members: Any) -> Json:
    meta = {"versionId": str(number)}
    return entry(f"{HERE}Observation/o", observation(id="o", meta=meta, **members))


THING = {
    "id": "thing",
    "path": "thing",
    "min": 0,
    "max": "*",
    "definition": "x",
    "base": {"path": "thing", "min": 0, "max": "*"},
}


def snapshot_only() -> Json:
    """A profile that some tools publish, with all that is in it and without what it changes."""
    definition = dict(definitions.structure("https://fhir-coprod.org/ig/StructureDefinition/patient-task"))
    del definition["differential"]
    return {**definition, "text": {"status": "generated", "div": NARRATIVE}}


def expecting() -> Json:
    """A CapabilityStatement as guides write it."""
    url = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-expectation"
    shall = [{"url": url, "valueCode": "SHALL"}]
    return {
        "resourceType": "CapabilityStatement",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "draft",
        "date": "2026",
        "kind": "requirements",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "_format": [{"extension": shall}],
        "description": "x",
        "rest": [{"mode": "server", "resource": [{"type": "Patient", "extension": shall}]}],
    }


def with_property(code: str, system: str = "http://hl7.org/fhir/administrative-gender") -> Json:
    held = [{"code": "about", "valueCoding": {"system": system, "code": code}}]
    return {
        "resourceType": "CodeSystem",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "draft",
        "content": "complete",
        "property": [{"code": "about", "type": "Coding"}],
        "concept": [{"code": "a", "property": held}],
    }


def mapping(code: str) -> Json:
    target = [{"code": "1", "equivalence": "equal"}]
    source = "http://hl7.org/fhir/administrative-gender"
    return {
        "resourceType": "ConceptMap",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "draft",
        "sourceCanonical": "http://hl7.org/fhir/ValueSet/administrative-gender",
        "group": [{"source": source, "element": [{"code": code, "target": target}]}],
    }


def typed(code: str, **coding: str) -> Json:
    """An identifier of the type that HL7's table 0203 has, or lacks, under this code."""
    coded = {"system": f"{HL7_CODES}v2-0203", "code": code, **coding}
    return patient(identifier=[{"type": {"coding": [coded]}, "value": "1"}])


def named_from(start: str, end: str) -> Json:
    return patient(name=[{"text": "x", "period": {"start": start, "end": end}}])


ABOUT = {"extension": [{"url": "https://a.example/about", "valueString": "x"}]}
VALID: dict[str, Json] = {
    "an id beside a value": patient(birthDate="1970-03-30", _birthDate={"id": "a1"}),
    "an id beside one value of a list": patient(name=[{"given": ["A", "B"], "_given": [None, {"id": "g2"}]}]),
    "an id beside an extension's value": patient(
        extension=[{**ABOUT["extension"][0], "_valueString": {"id": "v"}}]
    ),
    "an id and an extension beside a value": patient(birthDate="1970", _birthDate={"id": "a1", **ABOUT}),
    "white space is kept in pre": within('<pre xml:space="preserve">a</pre>'),
    "a prefix may be declared and not used": within('<p xmlns:x="urn:y">a</p>'),
    "the prefix is free": told('<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:p>a</h:p></h:div>'),
    "a no-break space is text": within("&#160;"),
    "a picture uses what is contained": {
        **within('<img src="#im" alt="x"/>'),
        "contained": [{"resourceType": "Binary", "id": "im", "contentType": "image/png"}],
    },
    "so does one in a section": {
        **document(
            section=[
                {
                    "title": "x",
                    "text": told('<div xmlns="http://www.w3.org/1999/xhtml"><img src="#im" alt="x"/></div>')[
                        "text"
                    ],
                }
            ]
        )["entry"][0]["resource"],
        "contained": [{"resourceType": "Binary", "id": "im", "contentType": "image/png"}],
    },
    "a code system has grown": typed("FGN"),
    "another has grown": placed(),
    "a code system may grow": typed("NOT-YET"),
    "a period of one day": named_from("2020-06-15", "2020-06-15"),
    "a URL with no type of R4 in it is not RESTful": bundle(
        "collection", entry("http://x.example/Pateint/1", patient(id="1"))
    ),
    "a document with what it names": document(ANN, GEORG),
    "a document that names no subject": document(GEORG, subject=None),
    "what leads to the Composition's resources belongs in": document(
        ANN, GEORG, entry(f"{HERE}Observation/o", observation(id="o", subject={"reference": "Patient/ann"}))
    ),
    "a version is named where there are two": document(
        ANN,
        GEORG,
        seen(1),
        seen(2),
        section=[
            {"entry": [{"reference": "Observation/o/_history/1"}, {"reference": "Observation/o/_history/2"}]}
        ],
    ),
    "a contained author": document(
        ANN,
        contained=[{"resourceType": "Practitioner", "id": "p"}],
        author=[{"reference": "#p"}],
    ),
    "a message with its focus": message(f"{HERE}Patient/ann", ANN),
    "a search's links": bundle(
        "searchset",
        ANN,
        link=[{"relation": "self", "url": HERE}, {"relation": "next", "url": HERE}],
    ),
    "a reference by identifier": observation(subject={"identifier": {"value": "1"}, "type": "Patient"}),
    "a reference with its type": observation(subject={"reference": "Patient/1", "type": "Patient"}),
    "a type by its absolute URL": observation(focus=[{"type": "https://a.example/Thing", "display": "x"}]),
    "a type by the URL of its definition": observation(
        subject={"reference": "Patient/1", "type": f"{HL7}Patient"}
    ),
    "a urn": observation(subject={"reference": f"urn:uuid:{UUID}"}),
    "a conditional reference": observation(subject={"reference": "Patient?identifier=1"}),
    "an id of the resource and the same of an element": patient(id="a", name=[{"id": "a", "text": "x"}]),
    "the ids of elements of a definition, in snapshot and differential": {
        "resourceType": "StructureDefinition",
        "text": {"status": "generated", "div": NARRATIVE},
        "url": "https://a.example/thing",
        "name": "Thing",
        "status": "draft",
        "kind": "logical",
        "abstract": True,
        "type": "https://a.example/thing",
        "snapshot": {"element": [THING]},
        "differential": {"element": [THING]},
    },
    "the same id in two contained resources": patient(
        contained=[
            {"resourceType": "Organization", "id": "o", "name": "x", "alias": ["y"], "_alias": [{"id": "a"}]},
            {"resourceType": "Practitioner", "id": "p", "name": [{"id": "a", "text": "x"}]},
        ],
        managingOrganization={"reference": "#o"},
        generalPractitioner=[{"reference": "#p"}],
    ),
    "a profile that has only a snapshot": snapshot_only(),
    "an expectation of a resource": expecting(),
    "what a search brings beside its results, without an id": bundle(
        "searchset", {**entry("https://nothing.example/x", patient()), "search": {"mode": "include"}}
    ),
    "a property that names a code": with_property("female"),
    "a property that names a code of what is not held": with_property("x", "https://a.example/codes"),
    "a map from a code of its source": mapping("female"),
    "the definition of its own type, claimed": patient(meta={"profile": [f"{HL7}Patient", f"{HL7}Resource"]}),
}

WRONG: dict[str, tuple[Json, str]] = {
    "an id and no value": (patient(_birthDate={"id": "a1"}), "Patient.birthDate"),
    "a code that is not in the version which its coding names": (
        typed("NOT-YET", version="2.9"),
        "Patient.identifier[0].type.coding[0]",
    ),
    "a code beyond the largest value set": (
        patient(communication=[{"language": {"coding": [{"system": "https://a.example/cs", "code": "en"}]}}]),
        "Patient.communication[0].language",
    ),
    "a period that ends on a day and begins at a time of that day": (
        named_from("2020-06-15T10:00:00Z", "2020-06-15"),
        "Patient.name[0].period",
    ),
    "another namespace": (within('<p xmlns="urn:other">x</p>'), "Patient.text.div"),
    "a relative fullUrl": (bundle("collection", entry("Patient/1", patient(id="1"))), "Bundle.entry[0]"),
    "a fragment as fullUrl": (bundle("batch", entry("#1", patient(id="1"))), "Bundle.entry[0]"),
    "a fullUrl of another id": (
        bundle("collection", entry(f"{HERE}Patient/2", patient(id="1"))),
        "Bundle.entry[0]",
    ),
    "no fullUrl": (bundle("collection", {"resource": patient()}), "Bundle.entry[0]"),
    "a document without its subject": (document(GEORG), "Bundle.entry[0].resource.subject"),
    "a document without its author": (document(ANN), "Bundle.entry[0].resource.author[0]"),
    "a document about nobody, with somebody in it": (document(ANN, GEORG, subject=None), "Bundle.entry[1]"),
    "a document without what a section lists": (
        document(ANN, GEORG, section=[{"title": "x", "section": [{"entry": [{"reference": "List/1"}]}]}]),
        "Bundle.entry[0].resource.section[0].section[0].entry[0]",
    ),
    "a document with two versions and none named": (
        document(ANN, GEORG, seen(1), seen(2), section=[{"entry": [{"reference": "Observation/o"}]}]),
        "Bundle.entry[0].resource.section[0].entry[0]",
    ),
    "a document with a stranger": (
        document(ANN, GEORG, entry(f"{HERE}Patient/bob", patient(id="bob"))),
        "Bundle.entry[3]",
    ),
    "a message without its focus": (message(f"urn:uuid:{UUID[:-1]}4"), "Bundle.entry[0].resource.focus[0]"),
    "a relation that stands twice": (
        bundle("searchset", ANN, link=[{"relation": "self", "url": HERE}] * 2),
        "Bundle.link[1]",
    ),
    "a search that found what has no id": (
        bundle("searchset", {**entry("https://nothing.example/x", patient()), "search": {"mode": "match"}}),
        "Bundle.entry[0].resource",
    ),
    "a reference that is an id only": (observation(subject={"reference": UUID}), "Observation.subject"),
    "a reference in an entry that is an id only": (
        bundle(
            "collection",
            entry(f"urn:uuid:{UUID}", patient()),
            entry(f"urn:uuid:{UUID[:-1]}4", observation(subject={"reference": UUID})),
        ),
        "Bundle.entry[1].resource.subject",
    ),
    "the type of something else that is contained": (
        observation(
            contained=[{"resourceType": "Patient", "id": "p"}], subject={"reference": "#p", "type": "Group"}
        ),
        "Observation.subject.type",
    ),
    "the type of something else on another server": (
        observation(subject={"reference": f"{HERE}Patient/1/_history/2", "type": "Group"}),
        "Observation.subject.type",
    ),
    "the type of something else": (
        observation(subject={"reference": "Patient/1", "type": "Group"}),
        "Observation.subject.type",
    ),
    "an id that two elements have": (patient(name=[{"id": "a", "text": "x"}] * 2), "Patient"),
    "an id that an element and a primitive have": (
        patient(name=[{"id": "a", "text": "x"}], active=True, _active={"id": "a"}),
        "Patient",
    ),
    "an id that two primitives of a list have": (
        patient(name=[{"given": ["x", "y"], "_given": [{"id": "a"}, {"id": "a"}]}]),
        "Patient",
    ),
    "an id that two contained resources have": (
        patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": name} for name in "xy"],
            managingOrganization={"reference": "#o"},
        ),
        "Patient",
    ),
    "a property that names no code": (with_property("x"), "CodeSystem.concept[0].property[0].value"),
    "a map from a code that its source lacks": (mapping("x"), "ConceptMap.group[0].element[0].code"),
    "a type that R4 does not have": (observation(focus=[{"type": "Banana"}]), "Observation.focus[0].type"),
    "the definition of another type, claimed": (
        patient(meta={"profile": [f"{HL7}Observation"]}),
        "Patient.meta.profile[0]",
    ),
    "a profile of another type, claimed": (patient(meta={"profile": [f"{HL7}vitalsigns"]}), "Patient"),
    "the definition of another type, claimed by what is contained": (
        patient(
            contained=[
                {
                    "resourceType": "Organization",
                    "id": "o",
                    "name": "x",
                    "meta": {"profile": [f"{HL7}Observation"]},
                }
            ],
            managingOrganization={"reference": "#o"},
        ),
        "Patient.contained[0].meta.profile[0]",
    ),
    "members beside no primitive": (patient(_name={"id": "x"}), "Patient.name"),
    "another type of a search parameter": (
        {
            "resourceType": "CapabilityStatement",
            "text": {"status": "generated", "div": NARRATIVE},
            "status": "draft",
            "date": "2026",
            "kind": "requirements",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "description": "x",
            "rest": [
                {
                    "mode": "server",
                    "resource": [
                        {
                            "type": "Patient",
                            "searchParam": [
                                {
                                    "name": "gender",
                                    "type": "date",
                                    "definition": "http://hl7.org/fhir/SearchParameter/individual-gender",
                                }
                            ],
                        }
                    ],
                }
            ],
        },
        "CapabilityStatement.rest[0].resource[0].searchParam[0].type",
    ),
    "a concept of SNOMED CT by a word": (
        {
            "resourceType": "ValueSet",
            "text": {"status": "generated", "div": NARRATIVE},
            "status": "draft",
            "compose": {
                "include": [
                    {
                        "system": "http://snomed.info/sct",
                        "filter": [{"property": "concept", "op": "is-a", "value": "something"}],
                    }
                ]
            },
        },
        "ValueSet.compose.include[0].filter[0].value",
    ),
}


@pytest.mark.parametrize("resource", VALID.values(), ids=VALID.keys())
def test_what_r4_allows_passes(resource: Json) -> None:
    outcome = default().explain(resource)
    assert not outcome.errors, str(outcome)
    agree(default(), resource)


@pytest.mark.parametrize(("resource", "at"), WRONG.values(), ids=WRONG.keys())
def test_what_r4_forbids_is_told_at_its_place(resource: Json, at: str) -> None:
    outcome = default().explain(resource)
    assert at in {issue.expression for issue in outcome.errors}, str(outcome)
    assert agree(default(), resource) == "no"


@pytest.mark.parametrize(
    "kind",
    [
        "document",
        "message",
        "transaction",
        "transaction-response",
        "batch",
        "batch-response",
        "history",
        "searchset",
        "collection",
    ],
)
def test_a_relative_full_url_is_refused_in_every_bundle(kind: str) -> None:
    outcome = default().explain(bundle(kind, entry("Patient/1", patient(id="1"))))
    [told] = [issue for issue in outcome.errors if issue.expression == "Bundle.entry[0]"]
    assert "fullUrl is an absolute URL" in told.message


def test_what_an_extensible_value_set_lacks_is_a_warning() -> None:
    for name in ("a code system has grown", "a code system may grow", "a type by the URL of its definition"):
        assert "warning" in {issue.severity for issue in validate(VALID[name])}, name
    assert not validate(VALID["another has grown"]).issues


def test_the_definition_of_another_type_is_refused_as_the_profile_that_is_asked_for() -> None:
    assert not validate(patient(), f"{HL7}Observation")
    assert validate(patient(), f"{HL7}Patient")


def test_cardinality_is_told_as_the_profile_states_it() -> None:
    url = "https://fhir-coprod.org/ig/StructureDefinition/patient-task"
    task = {"resourceType": "Task", "meta": {"profile": [url]}, "status": "requested", "intent": "order"}
    said = [issue.message for issue in validate(task).errors]
    assert "`code` is missing; Task.code has cardinality 1..1." in said
    assert not any("1..*" in message for message in said)


def test_a_missing_choice_is_told_by_the_names_that_json_has() -> None:
    said = str(validate({"resourceType": "MedicationRequest", "status": "draft", "intent": "order"}))
    assert "`medicationCodeableConcept` or `medicationReference` is missing" in said


def test_errors_come_first() -> None:
    issues = validate({"resourceType": "Patient", "gender": "x"}).issues
    assert [issue.severity for issue in issues] == ["error", "warning"]

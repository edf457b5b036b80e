"""Somebody else's package, written for the tests: a profile for every way to slice, with resources.

CASES: (what it is about, profile, resource, whether it is valid)
"""

from __future__ import annotations

import copy
from typing import Any

from fhir_coprod import definitions

Json = dict[str, Any]
BASE = "http://elsewhere.test/StructureDefinition/"
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">For a test</div>'}


def derive(name: str, base: str, *constraints: Json) -> Json:
    """A profile: the base's snapshot with elements changed or put in; each is named by its id."""
    found = definitions.structure(base)
    snapshot = copy.deepcopy(found["snapshot"]["element"])
    differential: list[Json] = []
    for constraint in constraints:
        identity: str = constraint["id"]
        path = ".".join(part.partition(":")[0] for part in identity.split("."))
        own = {**constraint, "path": path}
        _, colon, slice_name = identity.rpartition(".")[2].partition(":")
        if colon:
            own["sliceName"] = slice_name
        differential.append(own)
        _put(snapshot, own)
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": BASE + name,
        "version": "1.0.0",
        "name": name.replace("-", "_"),
        "title": name,
        "status": "active",
        "fhirVersion": "4.0.1",
        "kind": found["kind"],
        "abstract": False,
        "type": found["type"],
        "baseDefinition": found["url"],
        "derivation": "constraint",
        "snapshot": {"element": snapshot},
        "differential": {"element": [{"id": base, "path": base}, *differential]},
    }


def _put(snapshot: list[Json], own: Json) -> None:
    """Change the element of that id, or add it after everything that belongs before it."""
    for element in snapshot:
        if element["id"] == own["id"]:
            element.update(own)
            return
    template = _template(snapshot, own)
    # Only what the original says of the element itself: no slicing of a slice, no children.
    element = {k: v for k, v in template.items() if k not in ("slicing", "id", "path")} | own
    parent = (
        own["id"].rpartition(".")[0]
        if ":" not in own["id"].rpartition(".")[2]
        else own["id"].rpartition(":")[0]
    )
    if "/" in own["id"].rpartition(":")[2]:
        parent = own["id"].rpartition("/")[0]
    last = max(
        i
        for i, e in enumerate(snapshot)
        if e["id"] == parent or e["id"].startswith((f"{parent}.", f"{parent}:", f"{parent}/"))
    )
    snapshot.insert(last + 1, element)


def _template(snapshot: list[Json], own: Json) -> Json:
    """What the unsliced element of that path says, in this snapshot or in its data type."""
    for element in snapshot:
        if element["path"] == own["path"] and ":" not in element["id"]:
            return copy.deepcopy(element)
    parent_path, _, name = own["path"].rpartition(".")
    parent = next(
        e for e in snapshot if e["path"] == parent_path and (e.get("type") or e.get("contentReference"))
    )
    if "contentReference" in parent:
        path = f"{parent['contentReference'].rpartition('#')[2]}.{name}"
        return copy.deepcopy(next(e for e in snapshot if e["path"] == path and ":" not in e["id"]))
    code = parent["type"][0]["code"]
    elements = definitions.structure(code)["snapshot"]["element"]
    return copy.deepcopy(next(e for e in elements if e["path"] == f"{code}.{name}"))


def slicing(*discriminators: str, rules: str = "open", ordered: bool = False) -> Json:
    """discriminators: "type path" """
    kinds = [d.split(" ") for d in discriminators]
    return {"discriminator": [{"type": k, "path": p} for k, p in kinds], "rules": rules, "ordered": ordered}


def concept(code: str, system: str = "http://elsewhere.test/codes") -> Json:
    return {"coding": [{"system": system, "code": code}]}


CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"

PROFILES: list[Json] = [
    derive(
        "by-pattern",
        "Observation",
        {"id": "Observation.category", "slicing": slicing("pattern $this"), "min": 1},
        {
            "id": "Observation.category:social",
            "min": 1,
            "max": "1",
            "patternCodeableConcept": concept("social-history", CATEGORY),
        },
    ),
    derive(
        "by-value",
        "Patient",
        {"id": "Patient.identifier", "slicing": slicing("value system", rules="closed"), "min": 1},
        {"id": "Patient.identifier:national", "min": 1, "max": "1"},
        {"id": "Patient.identifier:national.system", "min": 1, "fixedUri": "http://elsewhere.test/national"},
        {"id": "Patient.identifier:national.value", "min": 1},
        {"id": "Patient.identifier:local", "min": 0, "max": "2"},
        {"id": "Patient.identifier:local.system", "min": 1, "fixedUri": "http://elsewhere.test/local"},
    ),
    derive(
        "by-two-values",
        "Patient",
        {"id": "Patient.telecom", "slicing": slicing("value system", "value use")},
        {"id": "Patient.telecom:work-phone", "min": 1, "max": "1"},
        {"id": "Patient.telecom:work-phone.system", "min": 1, "fixedCode": "phone"},
        {"id": "Patient.telecom:work-phone.value", "min": 1},
        {"id": "Patient.telecom:work-phone.use", "min": 1, "fixedCode": "work"},
    ),
    derive(
        "by-type",
        "Observation",
        {"id": "Observation.value[x]", "slicing": slicing("type $this")},
        {"id": "Observation.value[x]:valueQuantity", "min": 0, "max": "1", "type": [{"code": "Quantity"}]},
        {"id": "Observation.value[x]:valueQuantity.unit", "min": 1},
    ),
    derive(
        "by-profile",
        "Bundle",
        {"id": "Bundle.entry", "slicing": slicing("profile resource"), "min": 1},
        {"id": "Bundle.entry:patient", "min": 1, "max": "1"},
        {
            "id": "Bundle.entry:patient.resource",
            "min": 1,
            "type": [{"code": "Patient", "profile": [BASE + "by-value"]}],
        },
    ),
    derive(
        "by-entry-type",
        "Bundle",
        {"id": "Bundle.entry", "slicing": slicing("type resource")},
        {"id": "Bundle.entry:patient", "min": 1, "max": "1"},
        {"id": "Bundle.entry:patient.resource", "min": 1, "type": [{"code": "Patient"}]},
    ),
    derive(
        "by-existence",
        "Patient",
        {"id": "Patient.address", "slicing": slicing("exists period", rules="closed")},
        {"id": "Patient.address:former", "min": 0, "max": "1"},
        {"id": "Patient.address:former.period", "min": 1},
        {"id": "Patient.address:present", "min": 0, "max": "*"},
        {"id": "Patient.address:present.period", "max": "0"},
    ),
    derive(
        "by-target",
        "Observation",
        {"id": "Observation.performer", "slicing": slicing("type resolve()")},
        {
            "id": "Observation.performer:person",
            "min": 1,
            "max": "1",
            "type": [
                {
                    "code": "Reference",
                    "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Practitioner"],
                }
            ],
        },
    ),
    derive(
        "in-order",
        "Observation",
        {"id": "Observation.category", "slicing": slicing("pattern $this", ordered=True)},
        {
            "id": "Observation.category:first",
            "min": 0,
            "max": "1",
            "patternCodeableConcept": concept("first"),
        },
        {
            "id": "Observation.category:second",
            "min": 0,
            "max": "1",
            "patternCodeableConcept": concept("second"),
        },
    ),
    derive(
        "by-required-binding",
        "Patient",
        {"id": "Patient.communication", "slicing": slicing("value language")},
        {"id": "Patient.communication:common", "min": 1, "max": "1"},
        {
            "id": "Patient.communication:common.language",
            "min": 1,
            "binding": {"strength": "required", "valueSet": "http://hl7.org/fhir/ValueSet/languages"},
        },
    ),
    derive(
        "by-nested-code",
        "Observation",
        {"id": "Observation.component", "slicing": slicing("pattern code")},
        {"id": "Observation.component:left", "min": 1, "max": "1"},
        {"id": "Observation.component:left.code", "min": 1, "patternCodeableConcept": concept("left")},
        {"id": "Observation.component:left.value[x]", "min": 1, "type": [{"code": "Quantity"}]},
    ),
    derive(
        "sliced-again",
        "Patient",
        {"id": "Patient.telecom", "slicing": slicing("value system")},
        {"id": "Patient.telecom:phone", "min": 1, "max": "*", "slicing": slicing("value use")},
        {"id": "Patient.telecom:phone.system", "min": 1, "fixedCode": "phone"},
        {"id": "Patient.telecom:phone/home", "min": 1, "max": "1"},
        {"id": "Patient.telecom:phone/home.system", "min": 1, "fixedCode": "phone"},
        {"id": "Patient.telecom:phone/home.use", "min": 1, "fixedCode": "home"},
    ),
    derive(
        "with-content-reference",
        "Questionnaire",
        {"id": "Questionnaire.item.text", "min": 1},
    ),
    derive(
        "with-fixed-values",
        "Observation",
        {"id": "Observation.status", "fixedCode": "final"},
        {"id": "Observation.code", "fixedCodeableConcept": concept("walk")},
        {"id": "Observation.value[x]", "type": [{"code": "Quantity"}, {"code": "string"}]},
        {"id": "Observation.dataAbsentReason", "max": "0"},
        {"id": "Observation.note", "max": "1"},
        {"id": "Observation.method", "patternCodeableConcept": concept("tape")},
    ),
]


def _observation(**members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "text": NARRATIVE,
        "status": "final",
        "code": {"text": "Walk"},
        **members,
    }


def _patient(**members: Any) -> Json:
    return {"resourceType": "Patient", "text": NARRATIVE, **members}


def _bundle(*resources: Json) -> Json:
    entries = [
        {"fullUrl": f"urn:uuid:c757873d-ec9a-4326-a141-{number:012x}", "resource": resource}
        for number, resource in enumerate(resources)
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _questionnaire(*items: Json) -> Json:
    return {"resourceType": "Questionnaire", "text": NARRATIVE, "status": "draft", "item": list(items)}


NATIONAL = {"system": "http://elsewhere.test/national", "value": "1"}
LOCAL = {"system": "http://elsewhere.test/local", "value": "1"}
PERIOD = {"period": {"start": "2020"}, "city": "Lund"}
TOWN = {"city": "Lund"}
WALK = {"code": concept("walk"), "method": concept("tape")}

CASES: list[tuple[str, str, Json, bool]] = [
    ("the slice is there", "by-pattern", _observation(category=[concept("social-history", CATEGORY)]), True),
    (
        "with another beside it",
        "by-pattern",
        _observation(category=[{"text": "x"}, concept("social-history", CATEGORY)]),
        True,
    ),
    ("the slice is missing", "by-pattern", _observation(category=[concept("laboratory", CATEGORY)]), False),
    (
        "the slice is there twice",
        "by-pattern",
        _observation(category=[concept("social-history", CATEGORY)] * 2),
        False,
    ),
    ("the element is missing", "by-pattern", _observation(), False),
    ("one of each", "by-value", _patient(identifier=[NATIONAL, LOCAL]), True),
    ("one slice too often", "by-value", _patient(identifier=[NATIONAL, LOCAL, LOCAL, LOCAL]), False),
    (
        "outside a closed slicing",
        "by-value",
        _patient(identifier=[NATIONAL, {"system": "http://x.org", "value": "1"}]),
        False,
    ),
    (
        "a child of the slice is missing",
        "by-value",
        _patient(identifier=[{"system": NATIONAL["system"]}]),
        False,
    ),
    ("the needed slice is missing", "by-value", _patient(identifier=[LOCAL]), False),
    (
        "both values fit",
        "by-two-values",
        _patient(telecom=[{"system": "phone", "use": "work", "value": "1"}]),
        True,
    ),
    (
        "one value fits",
        "by-two-values",
        _patient(telecom=[{"system": "phone", "use": "home", "value": "1"}]),
        False,
    ),
    ("the type of the slice", "by-type", _observation(valueQuantity={"value": 1, "unit": "m"}), True),
    ("a child of the typed slice is missing", "by-type", _observation(valueQuantity={"value": 1}), False),
    ("another type", "by-type", _observation(valueString="x"), True),
    ("an entry of the profile", "by-profile", _bundle(_patient(identifier=[NATIONAL])), True),
    ("no entry of the profile", "by-profile", _bundle(_patient(identifier=[LOCAL])), False),
    ("an entry of the type", "by-entry-type", _bundle(_observation(), _patient()), True),
    ("no entry of the type", "by-entry-type", _bundle(_observation()), False),
    ("two entries of the type", "by-entry-type", _bundle(_patient(), _patient()), False),
    ("with and without", "by-existence", _patient(address=[PERIOD, TOWN, TOWN]), True),
    ("with, twice", "by-existence", _patient(address=[PERIOD, PERIOD]), False),
    (
        "a target of the type",
        "by-target",
        _observation(performer=[{"reference": "Organization/1"}, {"reference": "Practitioner/1"}]),
        True,
    ),
    ("no target of the type", "by-target", _observation(performer=[{"reference": "Organization/1"}]), False),
    (
        "two targets of the type",
        "by-target",
        _observation(performer=[{"reference": "Practitioner/1"}, {"reference": "Practitioner/2"}]),
        False,
    ),
    ("in order", "in-order", _observation(category=[concept("first"), concept("second")]), True),
    ("out of order", "in-order", _observation(category=[concept("second"), concept("first")]), False),
    (
        "a code of the binding",
        "by-required-binding",
        _patient(communication=[{"language": concept("sv", "urn:ietf:bcp:47")}]),
        True,
    ),
    (
        "no code of the binding",
        "by-required-binding",
        _patient(communication=[{"language": {"text": "Swedish"}}]),
        False,
    ),
    (
        "the component",
        "by-nested-code",
        _observation(component=[{"code": concept("left"), "valueQuantity": {"value": 1}}]),
        True,
    ),
    (
        "the component of another type",
        "by-nested-code",
        _observation(component=[{"code": concept("left"), "valueString": "x"}]),
        False,
    ),
    (
        "the component without value",
        "by-nested-code",
        _observation(component=[{"code": concept("left")}]),
        False,
    ),
    (
        "another component",
        "by-nested-code",
        _observation(component=[{"code": concept("right"), "valueQuantity": {"value": 1}}]),
        False,
    ),
    (
        "the slice of the slice",
        "sliced-again",
        _patient(telecom=[{"system": "phone", "use": "home", "value": "1"}]),
        True,
    ),
    (
        "not the slice of the slice",
        "sliced-again",
        _patient(telecom=[{"system": "phone", "use": "work", "value": "1"}]),
        False,
    ),
    (
        "outside the slice that is sliced",
        "sliced-again",
        _patient(telecom=[{"system": "email", "use": "home", "value": "1"}]),
        False,
    ),
    (
        "items with text",
        "with-content-reference",
        _questionnaire(
            {
                "linkId": "1",
                "type": "group",
                "text": "x",
                "item": [{"linkId": "1.1", "type": "string", "text": "y"}],
            }
        ),
        True,
    ),
    (
        "an item without text",
        "with-content-reference",
        _questionnaire({"linkId": "1", "type": "string"}),
        False,
    ),
    ("as fixed", "with-fixed-values", _observation(**WALK, valueString="x"), True),
    ("another status", "with-fixed-values", {**_observation(**WALK), "status": "amended"}, False),
    (
        "more than is fixed",
        "with-fixed-values",
        _observation(**{**WALK, "code": {**concept("walk"), "text": "x"}}),
        False,
    ),
    (
        "more than the pattern",
        "with-fixed-values",
        _observation(**{**WALK, "method": {**concept("tape"), "text": "x"}}),
        True,
    ),
    ("not the pattern", "with-fixed-values", _observation(**{**WALK, "method": concept("eye")}), False),
    ("a type that was taken away", "with-fixed-values", _observation(**WALK, valueBoolean=True), False),
    ("too many", "with-fixed-values", _observation(**WALK, note=[{"text": "x"}, {"text": "y"}]), False),
    ("what is forbidden", "with-fixed-values", _observation(**WALK, dataAbsentReason=concept("x")), False),
]


def claiming(profile: str, resource: Json) -> Json:
    """The resource with the profile in meta.profile."""
    return {**resource, "meta": {"profile": [BASE + profile]}}

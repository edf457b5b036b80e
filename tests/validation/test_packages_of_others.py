"""Profiles with only a differential, as others have them: contexts, limits, slices, repetition."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.validator import Validator
from tests.definitions.test_snapshots import OF, profile
from tests.validation.fast.test_tiers import agree, fast
from tests.validation.small import observation, patient

INHERITED = f"{OF}inherited"
KG = {"system": "http://unitsofmeasure.org", "code": "kg"}


def extension(name: str, **members: Any) -> Json:
    return {
        **profile(
            name,
            "Extension",
            {"path": "Extension.extension", "max": "0"},
            {"path": "Extension.url", "fixedUri": OF + name},
            {"path": "Extension.value[x]", "min": 1, "type": [{"code": "boolean"}]},
        ),
        "kind": "complex-type",
        **members,
    }


def at(*contexts: tuple[str, str]) -> list[Json]:
    return [{"type": kind, "expression": expression} for kind, expression in contexts]


def said(name: str) -> Json:
    return {"extension": [{"url": OF + name, "valueBoolean": True}]}


def inner(name: str) -> Json:
    """An extension whose value has another."""
    return {"extension": [{**said(name)["extension"][0], "_valueBoolean": said("about")}]}


def sliced(by: str, path: str, rules: str = "closed", *more: str) -> Json:
    found = [{"type": by, "path": one} for one in (path, *more)]
    return {"discriminator": found, "rules": rules}


PROFILES = [
    extension("home", context=at(("fhirpath", "Patient.address.where(use='home')"))),
    extension("true", context=at(("fhirpath", "Patient.active"), ("element", "Person"))),
    extension("inherited", context=at(("element", "DomainResource.text"), ("element", "Resource.meta"))),
    extension("about", context=at(("extension", OF + "inner"))),
    extension("inner", context=at(("element", "Patient"))),
    extension("adult", context=at(("element", "Patient")), contextInvariant=["Patient.active.not()"]),
    extension("odd", context=at(("element", "Patient")), contextInvariant=["%nothing.exists()"]),
    extension("lost", context=at(("fhirpath", "Patient.where(%nothing)"))),
    extension("item", context=at(("element", "Questionnaire.item")), contextInvariant=["type!='display'"]),
    profile(
        "weight",
        "Observation",
        {"path": "Observation.value[x]", "type": [{"code": "Quantity"}]},
        {
            "path": "Observation.valueQuantity",
            "minValueQuantity": {"value": 0, **KG},
            "maxValueQuantity": {"value": 500, **KG},
        },
    ),
    profile(
        "actions",
        "PlanDefinition",
        {"path": "PlanDefinition.action", "slicing": sliced("value", f"extension('{OF}kind').value")},
        *(
            element
            for name, code in (("one", "Single"), ("two", "Alternate"))
            for element in (
                {"id": f"PlanDefinition.action:{name}", "path": "PlanDefinition.action", "sliceName": name},
                {
                    "id": f"PlanDefinition.action:{name}.extension:kind",
                    "path": "PlanDefinition.action.extension",
                    "sliceName": "kind",
                    "min": 1,
                    "type": [{"code": "Extension", "profile": [OF + "kind"]}],
                },
                {
                    "id": f"PlanDefinition.action:{name}.extension:kind.value[x]:valueCode",
                    "path": "PlanDefinition.action.extension.value[x]",
                    "sliceName": "valueCode",
                    "min": 1,
                    "fixedCode": code,
                },
            )
        ),
    ),
    profile(
        "actions-short",
        "PlanDefinition",
        {"path": "PlanDefinition.action", "slicing": sliced("value", f"extension('{OF}kind').value")},
        *(
            element
            for name, code in (("one", "Single"), ("two", "Alternate"))
            for element in (
                {"path": "PlanDefinition.action", "sliceName": name},
                {
                    "path": "PlanDefinition.action.extension",
                    "sliceName": "kind",
                    "min": 1,
                    "type": [{"code": "Extension", "profile": [OF + "kind"]}],
                },
                {"path": "PlanDefinition.action.extension.valueCode", "min": 1, "fixedCode": code},
            )
        ),
    ),
    profile(
        "entries",
        "Bundle",
        {"path": "Bundle.entry", "slicing": sliced("profile", "resource")},
        {"path": "Bundle.entry", "sliceName": "who", "max": "1"},
        {
            "path": "Bundle.entry.resource",
            "min": 1,
            "type": [{"code": "Patient", "profile": ["http://hl7.org/fhir/StructureDefinition/Patient"]}],
        },
    ),
    profile("begun", "Goal", {"path": "Goal.start[x]", "min": 1}),
    profile("dated", "Goal", {"path": "Goal.startDate", "min": 1}),
    {
        **extension("kind"),
        "differential": {
            "element": [
                {"path": "Extension.url", "fixedUri": OF + "kind"},
                {"path": "Extension.value[x]", "type": [{"code": "code"}]},
            ]
        },
    },
    profile(
        "performed",
        "Observation",
        {"path": "Observation.performer", "slicing": sliced("profile", "resolve()")},
        {
            "path": "Observation.performer",
            "sliceName": "pr",
            "type": [
                {
                    "code": "Reference",
                    "targetProfile": ["http://hl7.org/fhir/StructureDefinition/Practitioner"],
                }
            ],
        },
    ),
    profile(
        "mail",
        "Patient",
        {"path": "Patient.telecom", "slicing": sliced("value", "system", "closed", "use")},
        {"path": "Patient.telecom", "sliceName": "email"},
        {"path": "Patient.telecom.system", "min": 1, "fixedCode": "email"},
        {"path": "Patient.telecom.use", "max": "0"},
    ),
    profile(
        "twice",
        "Patient",
        {"path": "Patient.identifier", "slicing": sliced("pattern", "$this", "open")},
        {"path": "Patient.identifier", "sliceName": "a", "patternIdentifier": {"system": "urn:a"}},
        {"path": "Patient.identifier", "sliceName": "b", "patternIdentifier": {"use": "usual"}},
    ),
    profile("named", "Parameters", {"path": "Parameters.parameter.name", "patternString": "wanted"}),
    profile(
        "elsewhere",
        "Patient",
        {"path": "Patient.name", "type": [{"code": "HumanName", "profile": [OF + "?"]}]},
    ),
]


def claiming(name: str, resource: Json) -> Json:
    return {**resource, "meta": {"profile": [OF + name]}}


def weighing(value: float, code: str = "kg") -> Json:
    quantity = {"value": value, "system": KG["system"], "code": code, "unit": code}
    return claiming("weight", observation(valueQuantity=quantity))


def acting(*codes: str, name: str = "actions") -> Json:
    return claiming(
        name,
        {
            "resourceType": "PlanDefinition",
            "status": "draft",
            "action": [{"extension": [{"url": OF + "kind", "valueCode": code}]} for code in codes],
        },
    )


def asking(kind: str) -> Json:
    item = {"linkId": "1", "type": kind, "text": "x", **said("item")}
    return {"resourceType": "Questionnaire", "status": "draft", "item": [item]}


def asking_within(questionnaire: Json) -> Json:
    """The same question in a group of a group."""
    item = questionnaire["item"]
    for link in "23":
        item = [{"linkId": link, "type": "group", "text": "x", "item": item}]
    return {**questionnaire, "item": item}


def holding(resource: Json) -> Json:
    entry = {"fullUrl": "urn:uuid:33333333-3333-4333-8333-333333333333", "resource": resource}
    return claiming("entries", {"resourceType": "Bundle", "type": "collection", "entry": [entry]})


NAMES = [{"name": "wanted", "part": [{"name": "other", "valueBoolean": True}]}]
CASES: list[tuple[str, Json, bool]] = [
    ("the fhirpath leads there", patient(address=[{"use": "home", **said("home")}]), True),
    ("the fhirpath leads elsewhere", patient(address=[{"use": "work", **said("home")}]), False),
    ("the fhirpath leads to no primitive", patient(active=True, _active=said("home")), False),
    ("the fhirpath leads to the primitive", patient(active=True, _active=said("true")), True),
    ("one of several contexts", {"resourceType": "Person", **said("true")}, True),
    ("none of several contexts", patient(**said("true")), False),
    ("what a resource inherits", {**patient(), "text": {**patient()["text"], **said("inherited")}}, True),
    ("what every resource inherits", patient(meta=said("inherited")), True),
    ("not the resource itself", patient(**said("inherited")), False),
    ("on the value of the extension it is for", patient(**inner("inner")), True),
    ("on the value of another extension", patient(**inner("adult"), active=False), False),
    ("the rule of the context holds", patient(active=False, **said("adult")), True),
    ("the rule of the context is broken", patient(active=True, **said("adult")), False),
    ("the rule on a backbone element holds", asking("string"), True),
    ("on an element that repeats the one it is for", asking_within(asking("string")), True),
    (
        "the rule is broken on an element that repeats the one it is for",
        asking_within(asking("display")),
        False,
    ),
    ("the rule on a backbone element is broken", asking("display"), False),
    ("within the limits", weighing(70), True),
    ("within the limits, in another unit", weighing(3, "[stone_av]"), True),
    ("below the smallest", weighing(-1), False),
    ("above the largest", weighing(501), False),
    ("above the largest, in another unit", weighing(600_000, "g"), False),
    ("one action of each kind", acting("Single", "Alternate"), True),
    (
        "one action of each kind, by the short name of the choice",
        acting("Single", "Alternate", name="actions-short"),
        True,
    ),
    ("an action of no kind, by the short name", acting("Other", name="actions-short"), False),
    ("an action of no kind", acting("Other"), False),
    (
        "a resource is of its base profile",
        claiming(
            "performed",
            observation(
                contained=[{"resourceType": "Practitioner", "id": "p", "active": True}],
                performer=[{"reference": "#p"}],
            ),
        ),
        True,
    ),
    (
        "a resource is not of another's base profile",
        claiming(
            "performed",
            observation(
                contained=[{"resourceType": "Organization", "id": "p", "name": "x"}],
                performer=[{"reference": "#p"}],
            ),
        ),
        False,
    ),
    ("an entry is of its base profile", holding(patient(active=True)), True),
    ("an entry is not of another's base profile", holding(observation()), False),
    ("what must be absent is", claiming("mail", patient(telecom=[{"system": "email", "value": "a"}])), True),
    (
        "what must be absent is there",
        claiming("mail", patient(telecom=[{"system": "email", "value": "a", "use": "home"}])),
        False,
    ),
    ("one slice", claiming("twice", patient(identifier=[{"system": "urn:a", "value": "1"}])), True),
    (
        "two slices at once",
        claiming("twice", patient(identifier=[{"system": "urn:a", "use": "usual", "value": "1"}])),
        False,
    ),
    ("a part of another name", claiming("named", {"resourceType": "Parameters", "parameter": NAMES}), True),
    (
        "a parameter of another name",
        claiming("named", {"resourceType": "Parameters", "parameter": NAMES[0]["part"]}),
        False,
    ),
]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(PROFILES)


@pytest.mark.parametrize(("resource", "valid"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_a_package_of_others_asks_is_checked(validator: Validator, resource: Json, valid: bool) -> None:
    outcome = validator.explain(resource)
    assert bool(outcome) == valid, str(outcome)
    if INHERITED in json.dumps(resource):
        # Only the explaining tier knows by which path it came to the element.
        assert fast(validator, resource) == "no"
        assert validator.check(resource).issues == outcome.issues
    else:
        agree(validator, resource)


@pytest.mark.parametrize(
    ("resource", "what"),
    [
        (weighing(3, "cm"), "could not be compared"),
        (patient(**said("odd")), "about where it may stand was not checked"),
        (patient(**said("lost")), "may stand here was not checked"),
        (claiming("elsewhere", patient(name=[{"family": "Berg"}])), "not known here"),
    ],
)
def test_what_cannot_be_decided_is_named(validator: Validator, resource: Json, what: str) -> None:
    outcome = validator.explain(resource)
    assert not outcome.errors, str(outcome)
    assert [issue for issue in outcome if issue.code == "not-supported" and what in issue.message]
    agree(validator, resource)


@pytest.mark.parametrize(
    ("name", "what"), [("begun", "`startDate` or `startCodeableConcept` is"), ("dated", "`startDate` is")]
)
def test_a_missing_choice_of_a_profile_is_told_by_the_names_that_json_has(
    validator: Validator, name: str, what: str
) -> None:
    goal = {"lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"reference": "Patient/1"}}
    [error] = validator.explain(claiming(name, {"resourceType": "Goal", **goal})).errors
    assert error.message == f"{what} missing; Goal.start[x] has cardinality 1..1."


def test_an_extension_without_a_title_is_told_by_its_name(validator: Validator) -> None:
    [error] = validator.explain(patient(**said("home"))).errors
    assert error.message.startswith("home may not stand here")


def test_the_rules_that_r4_s_own_extensions_have_about_their_place_are_checked(validator: Validator) -> None:
    unit = {
        "url": "http://hl7.org/fhir/StructureDefinition/questionnaire-unit",
        "valueCoding": {"system": KG["system"], "code": "kg"},
    }
    for kind, valid in (("decimal", True), ("display", False)):
        asked = asking(kind)
        asked["item"][0]["extension"] = [unit]
        assert bool(validator.explain(asked)) == valid
        agree(validator, asked)

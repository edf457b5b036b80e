"""The fast tier says of each small resource what the explaining tier says: no more, and no less.

A yes where the other says no would be an error; a no where it says yes would cost its speed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from fhir_coprod.validation.fast.by_shape import HOT
from fhir_coprod.validation.validator import Validator
from tests.validation.fast.limits_package import CASES, PROFILES
from tests.validation.fast.test_tiers import agree, fast
from tests.validation.slicing_package import claiming
from tests.validation.small import basic, observation, patient, plan

Json = dict[str, Any]
HL7 = "http://hl7.org/fhir/StructureDefinition/"
NO, YES, BARE, MORE = "no", "yes", "yes, without narrative", "yes, with something to tell"


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(PROFILES)


@pytest.mark.parametrize(
    ("profile", "resource", "valid"), [c[1:] for c in CASES], ids=[f"{c[1]}: {c[0]}" for c in CASES]
)
def test_a_profile_counts_bounds_fixes_and_orders(
    validator: Validator, profile: str, resource: Json, valid: bool
) -> None:
    assert (agree(validator, claiming(profile, resource)) != NO) == valid


def without(resource: Json, element: str) -> Json:
    return {key: value for key, value in resource.items() if key != element}


def said_to_be_unknown(resource: Json, element: str) -> Json:
    reason = {"url": HL7 + "data-absent-reason", "valueCode": "unknown"}
    return without(resource, element) | {f"_{element}": {"extension": [reason]}}


def of_profile(*urls: str) -> Json:
    return patient(meta={"profile": list(urls)})


def entry(resource: Json, url: str = "http://example.org/fhir/Patient/1") -> Json:
    entries = [{"fullUrl": url, "resource": resource}]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def side_by_side(**entries: Json) -> Json:
    """A Bundle of resources under one address; a name such as Organization_1 is where the resource stands."""
    base = "http://example.org/fhir/"
    held = [{"fullUrl": base + name.replace("_", "/"), "resource": one} for name, one in entries.items()]
    return {"resourceType": "Bundle", "type": "collection", "entry": held}


def containing(inner: Json, **more: Any) -> Json:
    return patient(contained=[{"id": "i", **inner}], managingOrganization={"reference": "#i"}, **more)


def coded(*codings: Json, **more: Any) -> Json:
    return observation(code={"text": "x"}, interpretation=[{"coding": list(codings)}], **more)


def practice(**reference: Any) -> Json:
    return patient(managingOrganization=reference)


def extended(*extensions: Json, modifying: bool = False) -> Json:
    return patient(**{"modifierExtension" if modifying else "extension": list(extensions)})


ORGANIZATION = {"resourceType": "Organization", "name": "Ward"}
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
PLACE = {"url": HL7 + "patient-birthPlace", "valueAddress": {"city": "Lund"}}
NATIONALITY = HL7 + "patient-nationality"

EACH: list[tuple[str, Json, str]] = [
    ("a narrative", patient(), YES),
    ("no narrative", without(patient(), "text"), BARE),
    ("a profile that nobody knows", of_profile("http://example.org/p"), MORE),
    ("the type itself as profile", of_profile(HL7 + "Patient"), YES),
    ("the profile of another type", of_profile("http://elsewhere.test/StructureDefinition/ordered"), NO),
    ("two profiles, one unkept", of_profile(HL7 + "Patient", PROFILES[0]["url"]), NO),
    ("an empty meta", patient(meta={}), NO),
    ("a required value that is only said to be unknown", said_to_be_unknown(observation(), "status"), YES),
    ("a required value that is missing", without(observation(), "status"), NO),
    ("an optional value that is only said to be unknown", said_to_be_unknown(patient(), "gender"), YES),
    ("a meta without profile", patient(meta={"source": "urn:x"}), YES),
    ("a type that is none", {"resourceType": "Person2"}, NO),
    ("an abstract type", {"resourceType": "DomainResource"}, NO),
    ("a data type as resource", {"resourceType": "HumanName", "text": "x"}, NO),
    ("a contained resource needs no narrative", containing(ORGANIZATION), YES),
    ("something to tell in a contained one", containing(ORGANIZATION | {"meta": {"profile": ["u:x"]}}), MORE),
    ("something wrong in a contained one", containing(ORGANIZATION | {"active": 1}), NO),
    ("an entry with narrative", entry(patient(id="1")), YES),
    ("an entry without narrative", entry(without(patient(id="1"), "text")), MORE),
    ("an entry with something to tell", entry(patient(id="1", meta={"profile": ["u:x"]})), MORE),
    ("what an entry contains", entry({**containing(ORGANIZATION), "id": "1"}), YES),
    ("a reference in an entry to what is not inside", entry({**practice(reference="#i"), "id": "1"}), NO),
    (
        "a reference to another entry",
        side_by_side(
            Patient_1=patient(
                id="1", managingOrganization={"reference": "http://example.org/fhir/Organization/1"}
            ),
            Organization_1={**ORGANIZATION, "id": "1", "text": patient()["text"]},
        ),
        YES,
    ),
    (
        "a reference to another entry of the wrong type",
        side_by_side(
            Patient_1=patient(id="1", managingOrganization={"reference": "http://example.org/fhir/Basic/1"}),
            Basic_1=basic(id="1"),
        ),
        NO,
    ),
    (
        "a reference to another entry that is not what its address says",
        side_by_side(
            Patient_1=patient(id="1", managingOrganization={"reference": "Organization/1"}),
            Organization_1=basic(id="1"),
        ),
        NO,
    ),
    ("something wrong in an entry", entry(patient(id="1", active=1)), NO),
    # References
    ("a reference to the type", practice(reference="Organization/1"), YES),
    ("a reference to another type", practice(reference="Patient/1"), NO),
    ("a reference that says another type", practice(reference="Organization/1", type="Patient"), NO),
    ("an identifier of another type", practice(type="Patient", identifier={"value": "1"}), NO),
    ("only a name", practice(display="Ward"), YES),
    ("a reference into the resource, of another type", containing(basic()), NO),
    ("a reference to what is not inside", practice(reference="#none"), NO),
    ("a place elsewhere", practice(reference="urn:uuid:c757873d-ec9a-4326-a141-556f43239520"), YES),
    # Codes
    ("a code of the list", patient(gender="other"), YES),
    ("a code outside the list", patient(gender="others"), NO),
    ("a language outside what is preferred", patient(language="tlh"), YES),
    ("a language with a space", patient(language="tlh "), NO),
    ("a code of the system", coded({"system": INTERPRETATION, "code": "H"}), YES),
    ("a code that the system lacks", coded({"system": INTERPRETATION, "code": "HHHH"}), MORE),
    (
        "a code that the system lacks in the version that is named",
        coded({"system": INTERPRETATION, "code": "HHHH", "version": "2018-08-12"}),
        NO,
    ),
    (
        "a code that the system lacks in the version that is named first",
        coded({"version": "2018-08-12", "system": INTERPRETATION, "code": "HHHH"}),
        NO,
    ),
    (
        "a code of the version that is named",
        coded({"system": INTERPRETATION, "code": "H", "version": "2018-08-12"}),
        YES,
    ),
    (
        "a code that the system lacks, of a version that nobody holds",
        coded({"system": INTERPRETATION, "code": "HHHH", "version": "99"}),
        MORE,
    ),
    (
        "a version that is no text",
        coded({"system": INTERPRETATION, "code": "H", "version": 1}),
        NO,
    ),
    ("a code of another system", coded({"system": "http://example.org/c", "code": "H"}), MORE),
    ("one of two codes", coded({"system": INTERPRETATION, "code": "H"}, {"system": "u:x", "code": "1"}), YES),
    ("two codes of others", coded({"system": "u:y", "code": "1"}, {"system": "u:x", "code": "1"}), MORE),
    ("only words", observation(interpretation=[{"text": "high"}]), MORE),
    ("a system and no code", coded({"system": INTERPRETATION, "display": "High"}), MORE),
    # Texts and numbers
    ("a text", patient(name=[{"text": "Å"}]), YES),
    ("a text of spaces", patient(name=[{"text": "  "}]), MORE),
    ("a text with a space before it", patient(name=[{"text": " x"}]), YES),
    ("a text of two lines", patient(name=[{"text": "x\ny"}]), YES),
    ("a control character", patient(name=[{"text": "x\u0001"}]), MORE),
    ("the least rank", patient(telecom=[{"rank": 1}]), YES),
    ("rank nought", patient(telecom=[{"rank": 0}]), NO),
    ("the greatest rank", patient(telecom=[{"rank": 2147483647}]), YES),
    ("too great a rank", patient(telecom=[{"rank": 2147483648}]), NO),
    ("a rank with a fraction", patient(telecom=[{"rank": 1.5}]), NO),
    ("a rank that is a truth", patient(telecom=[{"rank": True}]), NO),
    ("a decimal", observation(valueQuantity={"value": 0.5}), YES),
    ("a whole decimal", observation(valueQuantity={"value": 5}), YES),
    ("a decimal that is a truth", observation(valueQuantity={"value": True}), NO),
    ("a decimal in quotes", observation(valueQuantity={"value": "5"}), NO),
    # Shape
    ("only an id", patient(name=[{"id": "x"}]), NO),
    ("an id and more", patient(name=[{"id": "x", "text": "y"}]), YES),
    ("two of a choice", patient(deceasedBoolean=True, deceasedDateTime="2020"), NO),
    (
        "two of a choice, one by its extension",
        patient(deceasedBoolean=True, _deceasedDateTime={"id": "x"}),
        NO,
    ),
    ("a value and its id", patient(birthDate="2020", _birthDate={"id": "x"}), YES),
    ("only the id of a value", patient(_birthDate={"id": "x"}), NO),
    ("an underscore before an object", patient(_name=[{"id": "x"}]), NO),
    ("an underscore before the narrative", patient(text={**patient()["text"], "_div": {"id": "x"}}), NO),
    ("lists side by side", patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "x"}]}]), YES),
    (
        "a null that nothing explains",
        patient(name=[{"given": ["a", None], "_given": [{"id": "x"}, None]}]),
        NO,
    ),
    ("an unknown member", patient(surname="x"), NO),
    ("a list of none", patient(name=[]), NO),
    ("one where a list is wanted", patient(name={"text": "x"}), NO),
    ("a list where one is wanted", patient(gender=["other"]), NO),
    ("a rule about presence", patient(contact=[{"gender": "other"}]), NO),
    ("a rule about presence, kept", patient(contact=[{"name": {"text": "x"}}]), YES),
    ("a rule about two values", plan(period={"start": "2020", "end": "2019"}), NO),
    ("a rule about two values, kept", plan(period={"start": "2019", "end": "2020"}), YES),
    # Extensions
    ("an extension", extended(PLACE), YES),
    ("an extension twice where one is", extended(PLACE, PLACE), YES),
    ("with a value of another type", extended({"url": PLACE["url"], "valueString": "x"}), NO),
    ("with a wrong value", extended({"url": PLACE["url"], "valueAddress": {"town": "x"}}), NO),
    ("with neither value nor parts", extended({"url": PLACE["url"]}), NO),
    ("with value and parts", extended({**PLACE, "extension": [PLACE]}), NO),
    ("at a wrong place", observation(extension=[PLACE]), NO),
    ("as modifier", extended(PLACE, modifying=True), NO),
    ("not known", extended({"url": "http://example.org/x", "valueString": "x"}), MORE),
    (
        "not known, as modifier",
        extended({"url": "http://example.org/x", "valueString": "x"}, modifying=True),
        NO,
    ),
    ("with a name for an address", extended({"url": "place", "valueString": "x"}), NO),
    ("that is a profile of a resource", extended({"url": PROFILES[0]["url"], "valueString": "x"}), MORE),
    (
        "of parts",
        extended({"url": NATIONALITY, "extension": [{"url": "code", "valueCodeableConcept": {"text": "x"}}]}),
        YES,
    ),
    (
        "of a part that it has not",
        extended({"url": NATIONALITY, "extension": [{"url": "colour", "valueString": "x"}]}),
        NO,
    ),
    (
        "of a part with an address",
        extended({"url": NATIONALITY, "extension": [{"url": "u:x", "valueString": "x"}]}),
        MORE,
    ),
]


@pytest.mark.parametrize(("resource", "answer"), [case[1:] for case in EACH], ids=[case[0] for case in EACH])
def test_both_tiers_give_the_answer(validator: Validator, resource: Json, answer: str) -> None:
    assert agree(validator, resource) == answer
    for _ in range(HOT + 1):
        assert fast(validator, resource) == answer


def places(value: Any, where: list[Any]) -> Iterator[list[Any]]:
    """The places of all values inside."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield [*where, key]
        yield from places(inner, [*where, key])


def shuffled(value: Any, random: Random) -> Any:
    """The same with the members of every object in another order, which is another shape."""
    if isinstance(value, dict):
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key], random) for key in keys}
    return [shuffled(item, random) for item in value] if isinstance(value, list) else value


RICH = {
    "patient": patient(
        id="1",
        meta={"lastUpdated": "2020-01-01T00:00:00Z", "tag": [{"system": "u:x", "code": "1"}]},
        active=True,
        gender="other",
        birthDate="1980-01-01",
        multipleBirthInteger=2,
        name=[
            {
                "use": "official",
                "family": "A",
                "given": ["B", "C"],
                "period": {"start": "2019", "end": "2020"},
            }
        ],
        telecom=[{"system": "phone", "value": "1", "rank": 1}],
        communication=[
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "sv"}]}, "preferred": True}
        ],
        managingOrganization={"reference": "Organization/1", "display": "Ward"},
        extension=[PLACE],
    ),
    "observation": observation(
        category=[{"coding": [{"system": "u:x", "code": "1"}]}],
        effectivePeriod={"start": "2019-01-01", "end": "2020-01-01"},
        interpretation=[{"coding": [{"system": INTERPRETATION, "code": "H"}]}],
        component=[
            {
                "code": {"text": "x"},
                "valueQuantity": {
                    "value": 1.5,
                    "system": "http://unitsofmeasure.org",
                    "code": "mg",
                    "unit": "mg",
                },
            }
        ],
        note=[{"text": "x", "time": "2020-01-01"}],
    ),
}
WRONG: list[Any] = [None, "", " x", "Basic/1", 0, 1.5, True, [], {}]


@pytest.mark.parametrize("resource", list(RICH.values()), ids=list(RICH))
def test_a_shape_has_the_same_answers_the_first_time_and_once_its_check_is_written_out(
    validator: Validator, resource: Json
) -> None:
    """Each value in turn is another."""
    assert agree(validator, resource) == YES
    for _ in range(HOT + 1):
        assert fast(validator, resource) == YES
    random = Random(1)
    for where in places(resource, []):
        for wrong in WRONG:
            mutant = copy.deepcopy(resource)
            inner = mutant
            for key in where[:-1]:
                inner = inner[key]
            inner[where[-1]] = wrong
            answer = agree(validator, mutant)
            assert fast(validator, shuffled(mutant, random)) == answer

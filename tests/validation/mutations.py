"""Ways to break a valid resource, each named after what it does. Some mutants stay valid."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from fhir_coprod import definitions
from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library
from fhir_coprod.validation.model.structure import PRIMITIVES

Json = dict[str, Any]


@dataclass(slots=True)
class Spot:
    """One value in a resource, and what the definition of its type says of it."""

    owner: Json
    key: str
    index: int | None
    """Position in the list under `key`; None where there is no list."""
    type: str
    field: Field
    at: str

    @property
    def value(self) -> Any:
        held = self.owner[self.key]
        return held if self.index is None else held[self.index]

    @value.setter
    def value(self, new: Any) -> None:
        if self.index is None:
            self.owner[self.key] = new
        else:
            self.owner[self.key][self.index] = new

    @property
    def content(self) -> Content | None:
        return self.field.by_type.get(self.type)


def spots(library: Library, resource: Json, at: str = "") -> Iterator[Spot]:
    """Every value in a resource that its type knows, outermost first."""
    model = library.type_model(str(resource.get("resourceType")))
    if model is not None:
        yield from _below(library, model.content, resource, at or str(resource["resourceType"]))


def _below(library: Library, content: Content, owner: Json, at: str) -> Iterator[Spot]:
    for key in list(owner):
        known = content.keys.get(key)
        if known is None:
            continue
        field, code = known
        held = owner[key]
        for index, value in enumerate(held) if isinstance(held, list) else ((None, held),):
            place = f"{at}.{field.name}" + ("" if index is None else f"[{index}]")
            yield Spot(owner, key, index, code, field, place)
            if isinstance(value, dict):
                if "resourceType" in value:
                    yield from spots(library, value, place)
                    continue
                inner = field.by_type.get(code)
                if inner is not None and not inner.datatype:
                    yield from _below(library, inner, value, place)
                elif (own := library.type_model(code)) is not None:
                    yield from _below(library, own.content, value, place)


Mutation = Callable[[list[Spot], Json, Random], bool]
"""(spots, the resource, chance) → whether something was changed."""

MUTATIONS: dict[str, Mutation] = {}


def mutation(function: Mutation) -> Mutation:
    MUTATIONS[function.__name__] = function
    return function


def mutate(library: Library, resource: Json, kind: str, random: Random) -> Json | None:
    """A broken copy; None when the resource has no place for that mutation."""
    mutant = copy.deepcopy(resource)
    return mutant if MUTATIONS[kind](list(spots(library, mutant)), mutant, random) else None


def _pick(found: list[Spot], random: Random, *types: str) -> Spot | None:
    fitting = [spot for spot in found if not types or spot.type in types]
    return random.choice(fitting) if fitting else None


def _replace(found: list[Spot], random: Random, new: Any, *types: str) -> bool:
    spot = _pick(found, random, *types)
    if spot is None:
        return False
    spot.value = copy.deepcopy(new)
    return True


def _complex(found: list[Spot]) -> list[Spot]:
    return [spot for spot in found if isinstance(spot.value, dict)]


# ---------------------------------------------------------------------- presence and number


@mutation
def drop_required(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.field.min > 0], random)
    if spot is None:
        return False
    del spot.owner[spot.key]
    return True


@mutation
def drop_any(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick(found, random)
    if spot is None:
        return False
    if spot.index is None:
        del spot.owner[spot.key]
    else:
        del spot.owner[spot.key][spot.index]
        if not spot.owner[spot.key]:
            # `empty_list` is another mutation.
            del spot.owner[spot.key]
    return True


@mutation
def drop_top(found: list[Spot], resource: Json, random: Random) -> bool:
    """A top-level member goes: often one that a profile needs."""
    keys = [key for key in resource if key not in ("resourceType", "meta")]
    if not keys:
        return False
    del resource[random.choice(keys)]
    return True


@mutation
def drop_child(found: list[Spot], resource: Json, random: Random) -> bool:
    """A member of a nested object goes: of a slice, of an extension."""
    fitting = [s for s in _complex(found) if len(s.value) > 1]
    spot = _pick(fitting, random)
    if spot is None:
        return False
    del spot.value[random.choice(list(spot.value))]
    return True


@mutation
def duplicate_item(found: list[Spot], resource: Json, random: Random) -> bool:
    """One more of a list item: too many for a profile or slice."""
    spot = _pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key].append(copy.deepcopy(spot.value))
    return True


@mutation
def list_for_single(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.index is None], random)
    if spot is None:
        return False
    spot.value = [spot.value]
    return True


@mutation
def single_for_list(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key] = spot.value
    return True


@mutation
def empty_list(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key] = []
    return True


@mutation
def empty_object(found: list[Spot], resource: Json, random: Random) -> bool:
    fitting = _complex(found)
    return bool(fitting) and _replace(fitting, random, {})


@mutation
def empty_string(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace([s for s in found if isinstance(s.value, str)], random, "")


@mutation
def null_item(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace([s for s in found if s.index is not None], random, None)


# ---------------------------------------------------------------------- JSON types


@mutation
def number_for_text(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace([s for s in found if isinstance(s.value, str)], random, 7)


@mutation
def text_for_number(found: list[Spot], resource: Json, random: Random) -> bool:
    numbers = ("integer", "positiveInt", "unsignedInt", "decimal")
    return _replace([s for s in found if s.type in numbers], random, "7")


@mutation
def text_for_boolean(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "true", "boolean")


@mutation
def text_for_object(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace([s for s in _complex(found) if "resourceType" not in s.value], random, "text")


@mutation
def object_for_text(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace([s for s in found if isinstance(s.value, str)], random, {"value": "text"})


@mutation
def other_resource_type(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["resourceType"] = random.choice(
        [t for t in ("Basic", "Slot", "Goal") if t != resource["resourceType"]]
    )
    return True


@mutation
def unknown_resource_type(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["resourceType"] += "s"
    return True


# ---------------------------------------------------------------------- formats


@mutation
def day_not_in_calendar(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "2023-02-30", "date", "dateTime")


@mutation
def slashed_date(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "2023/02/03", "date", "dateTime", "instant")


@mutation
def time_without_zone(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "2023-02-03T10:11:12", "dateTime", "instant")


@mutation
def hour_24(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "2023-02-03T24:11:12Z", "dateTime", "instant")


@mutation
def bad_id(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["id"] = random.choice(["a b", "a_b", "x" * 65, "å"])
    return True


@mutation
def spaces_in_code(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, random.choice([" final", "final ", "a  b"]), "code")


@mutation
def space_in_uri(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "http://example.org/a b", "uri", "url", "canonical")


@mutation
def bad_oid(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "urn:oid:3.x", "uri", "oid")


@mutation
def bad_base64(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "aGVsbG8", "base64Binary")


@mutation
def zero_positive(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, 0, "positiveInt")


@mutation
def below_zero(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, -1, "positiveInt", "unsignedInt")


@mutation
def huge_integer(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, 2**31, "integer", "positiveInt", "unsignedInt")


@mutation
def fraction_for_integer(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, 1.5, "integer", "positiveInt", "unsignedInt")


@mutation
def control_character(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, "a\u0007b", "string", "markdown")


# ---------------------------------------------------------------------- members


@mutation
def unknown_member(found: list[Spot], resource: Json, random: Random) -> bool:
    targets = [resource, *(s.value for s in _complex(found))]
    random.choice(targets)["surprise"] = "x"
    return True


@mutation
def misspelt_member(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick(found, random)
    if spot is None:
        return False
    spot.owner[spot.key + "s"] = spot.owner.pop(spot.key)
    return True


@mutation
def second_choice(found: list[Spot], resource: Json, random: Random) -> bool:
    """A choice given in two types."""
    choices = [s for s in found if s.field.choice and len(s.field.keys) > 1]
    spot = _pick(choices, random)
    if spot is None:
        return False
    other = random.choice([key for key, _ in spot.field.keys if key != spot.key])
    spot.owner[other] = copy.deepcopy(spot.value)
    return True


@mutation
def wrong_choice_type(found: list[Spot], resource: Json, random: Random) -> bool:
    """A choice given in a type that the element does not have."""
    spot = _pick([s for s in found if s.field.choice and "valueInstant" not in dict(s.field.keys)], random)
    if spot is None:
        return False
    del spot.owner[spot.key]
    spot.owner[f"{spot.field.name}Instant"] = "2023-02-03T10:11:12Z"
    return True


@mutation
def lists_out_of_step(found: list[Spot], resource: Json, random: Random) -> bool:
    """`_x` for a primitive list holds a null too many and nothing else."""
    spot = _pick([s for s in found if s.index is not None and s.type in PRIMITIVES], random)
    if spot is None:
        return False
    spot.owner[f"_{spot.key}"] = "text"
    return True


@mutation
def empty_beside(found: list[Spot], resource: Json, random: Random) -> bool:
    """`_x` beside a primitive is an empty object."""
    spot = _pick([s for s in found if s.index is None and s.type in PRIMITIVES and s.key != "div"], random)
    if spot is None:
        return False
    spot.owner[f"_{spot.key}"] = {}
    return True


@mutation
def id_beside(found: list[Spot], resource: Json, random: Random) -> bool:
    """A primitive has an id."""
    return _put_beside(_pick(_with_beside(found), random), {"id": "a1"})


@mutation
def id_alone(found: list[Spot], resource: Json, random: Random) -> bool:
    """A primitive has an id and no value."""
    spot = _pick(_with_beside(found), random)
    if not _put_beside(spot, {"id": "a1"}):
        return False
    assert spot is not None
    if spot.index is None:
        del spot.owner[spot.key]
    else:
        spot.value = None
    return True


def _with_beside(found: list[Spot]) -> list[Spot]:
    """Primitives that may have a member with _ beside them, and have none."""
    return [s for s in found if s.type in PRIMITIVES and s.type != "xhtml" and f"_{s.key}" not in s.owner]


def _put_beside(spot: Spot | None, beside: Json) -> bool:
    if spot is None:
        return False
    if spot.index is None:
        spot.owner[f"_{spot.key}"] = beside
    else:
        others = [None] * len(spot.owner[spot.key])
        spot.owner[f"_{spot.key}"] = [*others[: spot.index], beside, *others[spot.index + 1 :]]
    return True


# ---------------------------------------------------------------------- codes


@mutation
def wrong_code(found: list[Spot], resource: Json, random: Random) -> bool:
    """A code that the required value set lacks."""
    bound = [s for s in found if s.type == "code" and s.content and s.content.bound]
    return _replace([s for s in bound if _required(s)], random, "no-such-code")


@mutation
def wrong_coding(found: list[Spot], resource: Json, random: Random) -> bool:
    fitting = [s for s in found if s.type == "Coding" and "code" in s.value]
    spot = _pick(fitting, random)
    if spot is None:
        return False
    spot.value["code"] = "no-such-code"
    return True


@mutation
def wrong_coding_of_a_version(found: list[Spot], resource: Json, random: Random) -> bool:
    """A code that its system lacks in the version that the coding names."""
    fitting = [s for s in found if s.type == "Coding" and {"system", "code"} <= s.value.keys()]
    named = [(s, held.by_name) for s in fitting if (held := definitions.editions(s.value["system"]))]
    named = [(spot, versions) for spot, versions in named if versions]
    if not named:
        return False
    spot, versions = random.choice(named)
    # R4's own comes last; HL7's validator holds no other.
    spot.value |= {"code": "no-such-code", "version": list(versions)[-1]}
    return True


@mutation
def wrong_system(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.type == "Coding" and "system" in s.value], random)
    if spot is None:
        return False
    spot.value["system"] = "http://elsewhere.test/codes"
    return True


@mutation
def text_only_concept(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick([s for s in found if s.type == "CodeableConcept" and "coding" in s.value], random)
    if spot is None:
        return False
    spot.value = {"text": "only words"}
    return True


def _required(spot: Spot) -> bool:
    return (
        spot.content is not None
        and spot.content.bound is not None
        and spot.content.bound.strength == "required"
    )


# ---------------------------------------------------------------------- references and contained resources


@mutation
def wrong_target(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick(found, random, "Reference")
    if spot is None:
        return False
    spot.value["reference"] = "Slot/1"
    return True


@mutation
def dangling_local_reference(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = _pick(found, random, "Reference")
    if spot is None:
        return False
    spot.value["reference"] = "#nobody"
    return True


@mutation
def contained_unused(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["contained"] = [{"resourceType": "Basic", "id": "unused", "code": {"text": "x"}}]
    return True


@mutation
def contained_wrong_target(found: list[Spot], resource: Json, random: Random) -> bool:
    """A reference to a contained resource of a type that is not allowed there."""
    spot = _pick([s for s in found if s.type == "Reference" and s.content and s.content.target_types], random)
    if spot is None or "contained" in resource:
        return False
    spot.value.clear()
    spot.value["reference"] = "#inside"
    resource["contained"] = [{"resourceType": "Basic", "id": "inside", "code": {"text": "x"}}]
    return True


@mutation
def contained_invalid(found: list[Spot], resource: Json, random: Random) -> bool:
    """A contained resource, well referred to, that lacks a required element."""
    spot = _pick(
        [s for s in found if s.type == "Reference" and s.content and not s.content.target_types], random
    )
    if spot is None or "contained" in resource:
        return False
    spot.value.clear()
    spot.value["reference"] = "#inside"
    resource["contained"] = [{"resourceType": "Basic", "id": "inside"}]
    return True


# ---------------------------------------------------------------------- extensions


def _extend(
    found: list[Spot], resource: Json, random: Random, extension: Json, key: str = "extension"
) -> bool:
    targets = [
        resource,
        *(s.value for s in _complex(found) if "resourceType" not in s.value and s.type != "Extension"),
    ]
    if key == "modifierExtension":
        targets = [resource]
    random.choice(targets).setdefault(key, []).append(extension)
    return True


@mutation
def extension_without_value(found: list[Spot], resource: Json, random: Random) -> bool:
    return _extend(found, resource, random, {"url": "http://example.org/unknown"})


@mutation
def extension_without_url(found: list[Spot], resource: Json, random: Random) -> bool:
    return _extend(found, resource, random, {"valueString": "x"})


@mutation
def extension_with_both(found: list[Spot], resource: Json, random: Random) -> bool:
    inner = [{"url": "http://example.org/inner", "valueString": "x"}]
    return _extend(
        found, resource, random, {"url": "http://example.org/u", "valueString": "x", "extension": inner}
    )


@mutation
def extension_unknown(found: list[Spot], resource: Json, random: Random) -> bool:
    """Allowed."""
    return _extend(found, resource, random, {"url": "http://example.org/unknown", "valueString": "x"})


@mutation
def extension_relative_url(found: list[Spot], resource: Json, random: Random) -> bool:
    return _extend(found, resource, random, {"url": "relative", "valueString": "x"})


@mutation
def extension_wrong_type(found: list[Spot], resource: Json, random: Random) -> bool:
    """A core extension with a value of another type."""
    known = "http://hl7.org/fhir/StructureDefinition/originalText"
    return _extend(found, resource, random, {"url": known, "valueBoolean": True})


@mutation
def extension_wrong_place(found: list[Spot], resource: Json, random: Random) -> bool:
    """A core extension that belongs to another type."""
    known = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"
    if resource["resourceType"] == "Patient":
        return False
    resource.setdefault("extension", []).append({"url": known, "valueString": "x"})
    return True


@mutation
def extension_value_changed(found: list[Spot], resource: Json, random: Random) -> bool:
    """An extension that is there gets a value of another type."""
    spot = _pick(
        [s for s in found if s.type == "Extension" and any(k.startswith("value") for k in s.value)], random
    )
    if spot is None:
        return False
    key = next(k for k in spot.value if k.startswith("value"))
    del spot.value[key]
    spot.value["valueInteger" if key != "valueInteger" else "valueString"] = (
        3 if key != "valueInteger" else "x"
    )
    return True


@mutation
def extension_part_unknown(found: list[Spot], resource: Json, random: Random) -> bool:
    """A complex extension gets a part that its definition does not know."""
    spot = _pick([s for s in found if s.type == "Extension" and "extension" in s.value], random)
    if spot is None:
        return False
    spot.value["extension"].append({"url": "surprise", "valueString": "x"})
    return True


# ---------------------------------------------------------------------- rules of the base definitions


@mutation
def reversed_period(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, {"start": "2024-01-02", "end": "2023-01-02"}, "Period")


@mutation
def code_without_system(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, {"value": 1, "code": "mg"}, "Quantity")


@mutation
def relative_identifier_system(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, {"system": "local", "value": "1"}, "Identifier")


@mutation
def narrative_with_script(found: list[Spot], resource: Json, random: Random) -> bool:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><script>1</script>a</div>'
    resource["text"] = {"status": "generated", "div": div}
    return True


@mutation
def narrative_without_namespace(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["text"] = {"status": "generated", "div": "<div>words</div>"}
    return True


@mutation
def narrative_empty(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["text"] = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"> </div>'}
    return True


@mutation
def narrative_not_xml(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["text"] = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>a</div>'}
    return True


@mutation
def attachment_without_type(found: list[Spot], resource: Json, random: Random) -> bool:
    return _replace(found, random, {"data": "aGVsbG8="}, "Attachment")


@mutation
def changed_text(found: list[Spot], resource: Json, random: Random) -> bool:
    """Other words in a text: mostly still valid, not where something is fixed."""
    spot = _pick([s for s in found if s.type in ("string", "markdown", "uri", "code")], random)
    if spot is None:
        return False
    spot.value = "changed"
    return True

"""Mutations of meaning: codes, references, extensions, and rules of the base definitions."""

from __future__ import annotations

from random import Random

from fhir_coprod import definitions
from tests.validation.mutations.spots import Json, Spot, mutation, objects, pick, replace

# ---------------------------------------------------------------------- codes


@mutation
def wrong_code(found: list[Spot], resource: Json, random: Random) -> bool:
    """A code that the required value set lacks."""
    bound = [s for s in found if s.type == "code" and s.content and s.content.bound]
    return replace([s for s in bound if _required(s)], random, "no-such-code")


@mutation
def wrong_coding(found: list[Spot], resource: Json, random: Random) -> bool:
    fitting = [s for s in found if s.type == "Coding" and "code" in s.value]
    spot = pick(fitting, random)
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
    spot = pick([s for s in found if s.type == "Coding" and "system" in s.value], random)
    if spot is None:
        return False
    spot.value["system"] = "http://elsewhere.test/codes"
    return True


@mutation
def text_only_concept(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick([s for s in found if s.type == "CodeableConcept" and "coding" in s.value], random)
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
    spot = pick(found, random, "Reference")
    if spot is None:
        return False
    spot.value["reference"] = "Slot/1"
    return True


@mutation
def dangling_local_reference(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick(found, random, "Reference")
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
    spot = pick([s for s in found if s.type == "Reference" and s.content and s.content.target_types], random)
    if spot is None or "contained" in resource:
        return False
    spot.value.clear()
    spot.value["reference"] = "#inside"
    resource["contained"] = [{"resourceType": "Basic", "id": "inside", "code": {"text": "x"}}]
    return True


@mutation
def contained_invalid(found: list[Spot], resource: Json, random: Random) -> bool:
    """A contained resource, well referred to, that lacks a required element."""
    spot = pick(
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
        *(s.value for s in objects(found) if "resourceType" not in s.value and s.type != "Extension"),
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
    spot = pick(
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
    spot = pick([s for s in found if s.type == "Extension" and "extension" in s.value], random)
    if spot is None:
        return False
    spot.value["extension"].append({"url": "surprise", "valueString": "x"})
    return True


# ---------------------------------------------------------------------- rules of the base definitions


@mutation
def reversed_period(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, {"start": "2024-01-02", "end": "2023-01-02"}, "Period")


@mutation
def code_without_system(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, {"value": 1, "code": "mg"}, "Quantity")


@mutation
def relative_identifier_system(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, {"system": "local", "value": "1"}, "Identifier")


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
    return replace(found, random, {"data": "aGVsbG8="}, "Attachment")


@mutation
def changed_text(found: list[Spot], resource: Json, random: Random) -> bool:
    """Other words in a text: mostly still valid, not where something is fixed."""
    spot = pick([s for s in found if s.type in ("string", "markdown", "uri", "code")], random)
    if spot is None:
        return False
    spot.value = "changed"
    return True

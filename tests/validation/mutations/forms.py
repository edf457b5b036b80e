"""Mutations of form: values that are written wrongly, and members that do not belong."""

from __future__ import annotations

import copy
from random import Random

from fhir_coprod.validation.model.structure import PRIMITIVES
from tests.validation.mutations.spots import Json, Spot, mutation, objects, pick, replace

# ---------------------------------------------------------------------- formats


@mutation
def day_not_in_calendar(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "2023-02-30", "date", "dateTime")


@mutation
def slashed_date(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "2023/02/03", "date", "dateTime", "instant")


@mutation
def time_without_zone(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "2023-02-03T10:11:12", "dateTime", "instant")


@mutation
def hour_24(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "2023-02-03T24:11:12Z", "dateTime", "instant")


@mutation
def bad_id(found: list[Spot], resource: Json, random: Random) -> bool:
    resource["id"] = random.choice(["a b", "a_b", "x" * 65, "å"])
    return True


@mutation
def spaces_in_code(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, random.choice([" final", "final ", "a  b"]), "code")


@mutation
def space_in_uri(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "http://example.org/a b", "uri", "url", "canonical")


@mutation
def bad_oid(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "urn:oid:3.x", "uri", "oid")


@mutation
def bad_base64(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "aGVsbG8", "base64Binary")


@mutation
def zero_positive(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, 0, "positiveInt")


@mutation
def below_zero(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, -1, "positiveInt", "unsignedInt")


@mutation
def huge_integer(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, 2**31, "integer", "positiveInt", "unsignedInt")


@mutation
def fraction_for_integer(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, 1.5, "integer", "positiveInt", "unsignedInt")


@mutation
def control_character(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "a\u0007b", "string", "markdown")


# ---------------------------------------------------------------------- members


@mutation
def unknown_member(found: list[Spot], resource: Json, random: Random) -> bool:
    targets = [resource, *(s.value for s in objects(found))]
    random.choice(targets)["surprise"] = "x"
    return True


@mutation
def misspelt_member(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick(found, random)
    if spot is None:
        return False
    spot.owner[spot.key + "s"] = spot.owner.pop(spot.key)
    return True


@mutation
def second_choice(found: list[Spot], resource: Json, random: Random) -> bool:
    """A choice given in two types."""
    choices = [s for s in found if s.field.choice and len(s.field.keys) > 1]
    spot = pick(choices, random)
    if spot is None:
        return False
    other = random.choice([key for key, _ in spot.field.keys if key != spot.key])
    spot.owner[other] = copy.deepcopy(spot.value)
    return True


@mutation
def wrong_choice_type(found: list[Spot], resource: Json, random: Random) -> bool:
    """A choice given in a type that the element does not have."""
    spot = pick([s for s in found if s.field.choice and "valueInstant" not in dict(s.field.keys)], random)
    if spot is None:
        return False
    del spot.owner[spot.key]
    spot.owner[f"{spot.field.name}Instant"] = "2023-02-03T10:11:12Z"
    return True


@mutation
def lists_out_of_step(found: list[Spot], resource: Json, random: Random) -> bool:
    """`_x` for a primitive list holds a null too many and nothing else."""
    spot = pick([s for s in found if s.index is not None and s.type in PRIMITIVES], random)
    if spot is None:
        return False
    spot.owner[f"_{spot.key}"] = "text"
    return True


@mutation
def empty_beside(found: list[Spot], resource: Json, random: Random) -> bool:
    """`_x` beside a primitive is an empty object."""
    spot = pick([s for s in found if s.index is None and s.type in PRIMITIVES and s.key != "div"], random)
    if spot is None:
        return False
    spot.owner[f"_{spot.key}"] = {}
    return True


@mutation
def id_beside(found: list[Spot], resource: Json, random: Random) -> bool:
    """A primitive has an id."""
    return _put_beside(pick(_with_beside(found), random), {"id": "a1"})


@mutation
def id_alone(found: list[Spot], resource: Json, random: Random) -> bool:
    """A primitive has an id and no value."""
    spot = pick(_with_beside(found), random)
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

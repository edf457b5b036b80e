"""Mutations of what there is: elements that are missing, too many, or of another JSON type."""

from __future__ import annotations

import copy
from random import Random

from tests.validation.mutations.spots import Json, Spot, mutation, objects, pick, replace

# ---------------------------------------------------------------------- presence and number


@mutation
def drop_required(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick([s for s in found if s.field.min > 0], random)
    if spot is None:
        return False
    del spot.owner[spot.key]
    return True


@mutation
def drop_any(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick(found, random)
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
    fitting = [s for s in objects(found) if len(s.value) > 1]
    spot = pick(fitting, random)
    if spot is None:
        return False
    del spot.value[random.choice(list(spot.value))]
    return True


@mutation
def duplicate_item(found: list[Spot], resource: Json, random: Random) -> bool:
    """One more of a list item: too many for a profile or slice."""
    spot = pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key].append(copy.deepcopy(spot.value))
    return True


@mutation
def list_for_single(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick([s for s in found if s.index is None], random)
    if spot is None:
        return False
    spot.value = [spot.value]
    return True


@mutation
def single_for_list(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key] = spot.value
    return True


@mutation
def empty_list(found: list[Spot], resource: Json, random: Random) -> bool:
    spot = pick([s for s in found if s.index is not None], random)
    if spot is None:
        return False
    spot.owner[spot.key] = []
    return True


@mutation
def empty_object(found: list[Spot], resource: Json, random: Random) -> bool:
    fitting = objects(found)
    return bool(fitting) and replace(fitting, random, {})


@mutation
def empty_string(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace([s for s in found if isinstance(s.value, str)], random, "")


@mutation
def null_item(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace([s for s in found if s.index is not None], random, None)


# ---------------------------------------------------------------------- JSON types


@mutation
def number_for_text(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace([s for s in found if isinstance(s.value, str)], random, 7)


@mutation
def text_for_number(found: list[Spot], resource: Json, random: Random) -> bool:
    numbers = ("integer", "positiveInt", "unsignedInt", "decimal")
    return replace([s for s in found if s.type in numbers], random, "7")


@mutation
def text_for_boolean(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace(found, random, "true", "boolean")


@mutation
def text_for_object(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace([s for s in objects(found) if "resourceType" not in s.value], random, "text")


@mutation
def object_for_text(found: list[Spot], resource: Json, random: Random) -> bool:
    return replace([s for s in found if isinstance(s.value, str)], random, {"value": "text"})


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

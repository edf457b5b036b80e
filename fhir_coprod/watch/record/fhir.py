"""Small readers for FHIR elements: references, codes, times, and what kind of Task something is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from fhir_coprod.definitions import PROFILE
from fhir_coprod.jsontext import Json

PERSONS: Final = ("Patient/", "RelatedPerson/")
FIRST: Final = datetime(1900, 1, 1, tzinfo=UTC)
LAST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Times outside these mean "always" or "never" (0001-01-01, 9999-12-31). They are read as the nearer of the
two, so that a deadline counted from them is a valid time."""
T = TypeVar("T")
_TICK: Final = timedelta(microseconds=1)


def target(reference: Json | None) -> str:
    """`Type/id` without version, or `system|value` of a logical reference; "" if it has neither."""
    if not isinstance(reference, dict):
        return ""
    literal = reference.get("reference")
    if isinstance(literal, str) and literal:
        return literal.partition("/_history/")[0]
    identifier = reference.get("identifier")
    if isinstance(identifier, dict) and identifier.get("value"):
        return f"{identifier.get('system', '')}|{identifier['value']}"
    return ""


def local(reference: Json | None, data: Json) -> Json | None:
    """A reference to a contained resource as what that resource says of itself: its identifier, or its name.

    `#id` means something only within its own resource. Any other reference is returned unchanged.
    """
    return _local(reference, data, frozenset())


def _local(reference: Json | None, data: Json, passed: frozenset[str]) -> Json | None:
    """passed: the ids of roles that lead here, of which one may name itself."""
    literal = reference.get("reference") if isinstance(reference, dict) else None
    if not isinstance(literal, str) or not literal.startswith("#"):
        return reference
    if literal in passed:
        return None
    for held in data.get("contained") or ():
        if isinstance(held, dict) and held.get("id") == literal[1:]:
            if identifiers := [one for one in _identifiers(held) if one.get("value")]:
                return {"identifier": identifiers[0]}
            name = held.get("name")
            if isinstance(name, list):
                names = [_full_name(one) for one in name]
                name = next((one for one in names if one), "")
            if isinstance(name, str) and name.strip():
                return {"identifier": {"value": " ".join(name.split())}}
            if held.get("resourceType") == "PractitionerRole":
                behind = held.get("practitioner") or held.get("organization")
                return _local(behind, data, passed | {literal})
    return None


def _full_name(name: Json) -> str:
    parts = [*(name.get("given") or ()), name.get("family") or ""]
    return str(name.get("text") or " ".join(part for part in parts if part))


def targets(references: Iterable[Json] | None) -> tuple[str, ...]:
    """The `target` of each reference, without the empty ones."""
    return tuple(name for reference in references or () if (name := target(reference)))


def codes(*concepts: Json | None) -> tuple[str, ...]:
    """`system|code` of every coding; a concept with only a text has no code."""
    found: list[str] = []
    for concept in concepts:
        if isinstance(concept, dict):
            for coding in concept.get("coding") or ():
                if coding.get("code"):
                    found.append(f"{coding.get('system', '')}|{coding['code']}")  # noqa: PERF401 - hot
    return tuple(found)


def names(references: Iterable[Json | None] | None) -> tuple[str, ...]:
    """Every name of what each reference points to: the literal one, and the identifier as `system|value`."""
    found: list[str] = []
    for reference in references or ():
        if reference is None:
            continue
        literal, identifier = reference.get("reference"), reference.get("identifier")
        if isinstance(literal, str) and literal:
            found.append(literal.partition("/_history/")[0])
        if isinstance(identifier, dict) and identifier.get("value"):
            found.append(f"{identifier.get('system', '')}|{identifier['value']}")
    return tuple(found)


def own_names(data: Json, reference: str) -> tuple[str, ...]:
    """Every name by which others may point to this resource: its reference, and its business identifiers.

    A number without a system could be anybody's, and is left out.
    """
    return (
        reference,
        *(
            f"{one['system']}|{one['value']}"
            for one in _identifiers(data)
            if one.get("system") and one.get("value")
        ),
    )


def _identifiers(data: Json) -> list[Json]:
    """The business identifiers of a resource; some types have only one."""
    given = data.get("identifier")
    return [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, dict)]


def is_modified(data: Json) -> bool:
    """Whether something in it may turn its meaning around that we do not know: then it proves nothing."""
    if "modifierExtension" in data or "implicitRules" in data:
        return True
    return any(
        (isinstance(held, dict) and "modifierExtension" in held)
        or (
            isinstance(held, list)
            and any(isinstance(one, dict) and "modifierExtension" in one for one in held)
        )
        for held in data.values()
    )


def moment(text: Any, zone: ZoneInfo) -> datetime | None:
    """The first instant that a FHIR date, dateTime or instant may mean, in UTC; None if it is not a time.

    Never before FIRST nor after LAST.
    """
    if not isinstance(text, str):
        return None
    try:
        if len(text) > 10:
            at = datetime.fromisoformat(text.replace(":60", ":59"))
            return within_reach(at) if at.tzinfo else None
        year, month, day = [*(int(part) for part in text.split("-")), 1, 1][:3]
        return within_reach(datetime.combine(date(year, month, day), time(), zone))
    except ValueError:
        return None


def within_reach(at: datetime) -> datetime:
    """An aware time in UTC, not before FIRST nor after LAST."""
    if FIRST.year < at.year < LAST.year - 1:
        return at.astimezone(UTC)
    if at.year < FIRST.year:
        return FIRST
    if at.year > LAST.year:
        return LAST
    return min(max(at.astimezone(UTC), FIRST), LAST)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`: an SQL statement takes a limited number of values."""
    held = list(items)
    for start in range(0, len(held), size):
        yield held[start : start + size]


def split(name: str) -> tuple[str, str]:
    """Type and id of a literal reference `Type/id`."""
    type, _, id = name.partition("/")
    return type, id


def last_moment(text: Any, zone: ZoneInfo) -> datetime | None:
    """The last instant that a FHIR date or dateTime may mean: a date without a time is the whole day."""
    first = moment(text, zone)
    if first is None or len(text) > 10:
        return first
    local = first.astimezone(zone).date()
    if len(text) == 10:
        following = local + timedelta(days=1)
    elif len(text) == 7:
        following = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        following = local.replace(year=local.year + 1)
    return datetime.combine(following, time(), zone).astimezone(UTC) - _TICK


def is_followup(data: Json) -> bool:
    """Whether this is one of the watch's own Tasks."""
    return PROFILE + "stall-followup" in profiles(data)


def is_written_information(data: Json) -> bool:
    """Whether this is information for the patient, and so not the result of a visit."""
    return PROFILE + "written-information" in profiles(data)


def profiles(data: Json) -> Sequence[str]:
    """The profiles that a resource claims, without version."""
    claimed = (data.get("meta") or {}).get("profile") or ()
    return [profile.partition("|")[0] for profile in claimed]


def is_asking(data: Json) -> bool:
    """Whether this is a Communication coded `referral-request`, sent by a patient or a relative."""
    concepts = [*(data.get("category") or ()), *(data.get("reasonCode") or ()), data.get("topic")]
    return target(data.get("sender")).startswith(PERSONS) and any(
        code.endswith("|referral-request") for code in codes(*concepts)
    )


def task_request(data: Json) -> tuple[str, ...]:
    """What a Task asks for: focus and basedOn."""
    return names([data.get("focus") or {}, *(data.get("basedOn") or ())])


def side_task_about(data: Json) -> tuple[str, ...]:
    """What a Task is about: focus, basedOn, partOf, reasonReference."""
    return (*task_request(data), *names([*(data.get("partOf") or ()), data.get("reasonReference") or {}]))


def message_about(data: Json) -> tuple[str, ...]:
    """What a Communication is about: about, basedOn, partOf, and what it answers."""
    return names(
        reference
        for element in ("about", "basedOn", "partOf", "inResponseTo")
        for reference in data.get(element) or ()
    )

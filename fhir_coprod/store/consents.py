"""Reads what a Consent refuses, and what it permits, from its content alone.

An objection that is not understood in part counts as the stricter reading of it: against more people, about
more of the record, for a longer time. A permission of which something is not understood permits nothing.
https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal, NamedTuple

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import readable
from fhir_coprod.store.entries import split_reference
from fhir_coprod.store.values import FIRST, LAST, time_meant

SCOPE: Final = "http://terminology.hl7.org/CodeSystem/consentscope"
RESOURCE_TYPES: Final = "http://hl7.org/fhir/resource-types"
_OVER: Final = frozenset({"inactive", "entered-in-error", "rejected", "draft", "proposed"})
"""Nobody has decided yet, or it holds no longer. An unreadable status is none of these."""
_OPT_OUT: Final = frozenset({"OPTOUT", "OPTOUTE"})
_HOLDERS: Final = frozenset({"CST", "CUST"})
"""Roles of actors who hold the data, and are not those who may not get them."""
_NARROWING: Final = ("action", "purpose", "code", "data", "dataPeriod", "securityLabel")
_DAY: Final = 86_400_000_000
_DEEPEST: Final = 20

ActorKind = Literal["everybody", "reference", "identifier"]


class Actor(NamedTuple):
    """Whom a provision names: everybody, Type/id, or system|value of an identifier."""

    kind: ActorKind
    name: str = ""


EVERYBODY: Final = Actor("everybody")


class Objection(NamedTuple):
    """Who may not see what.

    type: a resource type; "" is the whole record
    low, high: when it holds, low ≤ time < high, in microseconds since 1970 UTC
    """

    actor: Actor
    type: str
    low: int
    high: int


class Reading(NamedTuple):
    """What a Consent says here.

    notes: what of it was not understood, and is read more strictly than it may have been meant
    """

    objections: frozenset[Objection] = frozenset()
    notes: tuple[str, ...] = ()


class Permission(NamedTuple):
    """What a Consent permits one actor: these types (all if empty), and these labels besides."""

    types: tuple[str, ...]
    labels: tuple[str, ...]


def objections(data: Json) -> Reading:
    """What a Consent refuses to whom."""
    read = readable(data)
    sound, notes = read.data, ["something in it cannot be read"] if read.unreadable else []
    if sound.get("status") in _OVER or not _is_about_privacy(sound):
        return Reading()
    root = sound.get("provision")
    if not isinstance(root, dict):
        if read.unreadable and "provision" in data:
            return Reading(frozenset({Objection(EVERYBODY, "", FIRST, LAST)}), tuple(notes))
        if _codes(sound.get("policyRule")) & _OPT_OUT:
            return Reading(frozenset({Objection(EVERYBODY, "", FIRST, LAST)}))
        return Reading()
    found: set[Objection] = set()
    unread = [path for path in read.unreadable if path.startswith("provision")]
    for provision, depth in _provisions(root, 0):
        if not _denies(provision, depth):
            if depth and root.get("type") == "deny":
                notes.append("an exception from a refusal is not made")
            continue
        found |= _refused(provision, notes)
    if unread and (found or any("provision.provision" in path for path in unread)):
        found |= {Objection(EVERYBODY, "", FIRST, LAST)}
    return Reading(frozenset(found), tuple(dict.fromkeys(notes)))


def permission(data: Json, actor: str, now: int) -> Permission | None:
    """What an active Consent permits this actor (Type/id) at a time; None: nothing. What it refuses them
    anywhere, and what cannot be understood, permits nothing.

    now: microseconds since 1970 UTC
    """
    read = readable(data)
    root = read.data.get("provision")
    if read.unreadable or not isinstance(root, dict):
        return None
    if read.data.get("status") != "active" or "patient-privacy" not in _codes(read.data.get("scope"), SCOPE):
        return None
    if root.get("type") != "permit" or root.get("provision"):
        return None
    if any(root.get(name) for name in _NARROWING if name not in ("action", "securityLabel")):
        return None
    if _codes_in(root.get("action")) - {"access", "use", ""}:
        return None
    if not any(each == Actor("reference", actor) for each in _actors(root, [])):
        return None
    low, high = _time(root.get("period"), is_strict_when_long=False)
    if not low <= now < high:
        return None
    types: list[str] = []
    for coding in _dicts(root.get("class")):
        if coding.get("system") != RESOURCE_TYPES or not _is_type(coding.get("code")):
            return None
        types.append(str(coding["code"]))
    labels = tuple(str(each.get("code", "")) for each in _dicts(root.get("securityLabel")))
    return Permission(tuple(dict.fromkeys(types)), labels)


def _is_about_privacy(data: Json) -> bool:
    codes = _codes(data.get("scope"), SCOPE)
    return not codes or "patient-privacy" in codes


def _provisions(provision: Json, depth: int) -> Iterator[tuple[Json, int]]:
    yield provision, depth
    if depth < _DEEPEST:
        for inner in _dicts(provision.get("provision")):
            yield from _provisions(inner, depth + 1)


def _denies(provision: Json, depth: int) -> bool:
    """One that does not say what it does refuses, if it is about anybody at all."""
    said = provision.get("type")
    if said is None:
        return bool(provision.get("actor")) and not (depth == 0 and provision.get("provision"))
    return bool(said != "permit")


def _refused(provision: Json, notes: list[str]) -> set[Objection]:
    if any(provision.get(name) for name in _NARROWING):
        notes.append("it names a part of the record or a purpose, and counts for all of it")
    types = {""}
    if classes := _dicts(provision.get("class")):
        if all(each.get("system") == RESOURCE_TYPES and _is_type(each.get("code")) for each in classes):
            types = {str(each["code"]) for each in classes}
        else:
            notes.append("it names a kind of content that is not known here, and counts for all")
    low, high = _time(provision.get("period"), is_strict_when_long=True)
    return {Objection(actor, type, low, high) for actor in _actors(provision, notes) for type in types}


def _actors(provision: Json, notes: list[str]) -> set[Actor]:
    found: set[Actor] = set()
    for actor in _dicts(provision.get("actor")):
        if _codes(actor.get("role")) & _HOLDERS:
            continue
        reference = actor.get("reference") or {}
        said = reference.get("reference", "")
        identifier = reference.get("identifier") or {}
        type, id = split_reference(said) if said else ("", "")
        if type and id and "://" not in said:
            found.add(Actor("reference", f"{type}/{id}"))
        elif not said and identifier.get("value"):
            found.add(Actor("identifier", f"{identifier.get('system', '')}|{identifier['value']}"))
        else:
            notes.append("it names somebody who is not known here, and counts for everybody")
            found.add(EVERYBODY)
    return found or {EVERYBODY}


def _time(period: Any, *, is_strict_when_long: bool) -> tuple[int, int]:
    """When a provision holds. A day begins and ends somewhere on earth: an objection holds on all of it, a
    permission only while it is that day everywhere."""
    if not isinstance(period, dict):
        return FIRST, LAST
    start, end = (time_meant(str(period.get(name, ""))) for name in ("start", "end"))
    around = 14 * _DAY // 24 if is_strict_when_long else -_DAY // 2
    low = start.low - (around if _is_day(period.get("start")) else 0) if start else FIRST
    high = end.high + (around if _is_day(period.get("end")) else 0) if end else LAST
    return low, high


def _is_day(text: object) -> bool:
    return isinstance(text, str) and "T" not in text


def _is_type(code: object) -> bool:
    return isinstance(code, str) and definitions.is_resource_type(code)


def _codes(concept: Any, system: str = "") -> set[str]:
    if not isinstance(concept, dict):
        return set()
    return {
        str(each.get("code", ""))
        for each in _dicts(concept.get("coding"))
        if not system or each.get("system", system) == system
    } - {""}


def _codes_in(concepts: Any) -> set[str]:
    return set().union(*(_codes(each) for each in _dicts(concepts)), set())


def _dicts(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

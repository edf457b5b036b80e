"""Who may speak for a patient, and how much of the record they see.

A proxy is a RelatedPerson of the patient whom an active Consent of that patient names, or a parent of a small
child. Names prove nothing: a mother is who her RelatedPerson says she is. It is asked anew for each request,
so an end is one at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Final

from fhir_coprod.access.rights import Rights
from fhir_coprod.access.scopes import Scope
from fhir_coprod.instants import to_microseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import readable
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store, Version, consents
from fhir_coprod.store.consents import Actor, Permission
from fhir_coprod.store.labels import BITS, NOT_FOR_PATIENTS
from fhir_coprod.store.values import FIRST, LAST, time_meant

ROLES: Final = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
PARENTS: Final = frozenset(
    {
        *("PRN", "MTH", "FTH", "NMTH", "NFTH", "GESTM", "ADOPTP", "ADOPTM", "ADOPTF"),
        *("GUARD", "GUADLTM"),
    }
)
"""Parents and guardians, who speak for a small child without its Consent. A step-parent or a foster parent
does by a Consent only."""
MOST: Final = 200
"""Consents of one patient that are looked at; whoever has more gets no proxy by the others."""
NOBODY: Final = Rights("proxy", "")
"""Of whom the patient has not let in: nothing exists for them."""


def proxy_rights(
    store: Store, settings: Settings, related_person: str, patient: str, now: datetime, name: str = ""
) -> Rights:
    """What a RelatedPerson may see of a patient now; `NOBODY`'s rights if it is nothing.

    related_person, patient: ids here
    name: who it is for the audit, such as issuer|subject
    """
    when = to_microseconds(now)
    person = _living(store, "RelatedPerson", related_person)
    own = _living(store, "Patient", patient)
    if person is None or own is None or not _is_of(person, patient, when) or own.get("active") is False:
        return NOBODY
    records = [each.data for each in _consents(store, patient)]
    if any(_refuses(data, related_person, when) for data in records):
        return NOBODY
    actor = f"RelatedPerson/{related_person}"
    permitted = [found for data in records if (found := consents.permission(data, actor, when))]
    if permitted:
        return _rights(name or actor, patient, permitted)
    if _is_parent(person) and _is_small(own, settings, now):
        return _rights(name or actor, patient, [Permission((), ())])
    return NOBODY


def patient_of(store: Store, related_person: str) -> str:
    """The id of the Patient whose RelatedPerson it is; "" if that cannot be told."""
    person = _living(store, "RelatedPerson", related_person)
    named = str(person.get("patient", {}).get("reference", "")) if person else ""
    type, _, id = named.partition("/")
    return id if type == "Patient" and "/" not in id else ""


def _rights(name: str, patient: str, permitted: list[Permission]) -> Rights:
    """All that the Consents permit together, to be read; the labels that each of them releases only if it
    permits all."""
    types = {type for each in permitted for type in (each.types or ("*",))}
    if "*" in types:
        types = {"*"}
    cleared = {
        label
        for each in permitted
        if not each.types or types == set(each.types)
        for label in each.labels
        if label in BITS and not BITS[label] & NOT_FOR_PATIENTS
    }
    scopes = tuple(Scope("patient", type, "rs") for type in sorted(types))
    return Rights("proxy", name, scopes, patient=patient, cleared=frozenset(cleared))


def _living(store: Store, type: str, id: str) -> Json | None:
    """What is stored under an id, if all of it can be read."""
    version = store.newest(type, [id]).get(id) if id else None
    if version is None or version.deleted:
        return None
    read = readable(version.data)
    # One whose period or patient cannot be read might have ended, or be somebody else's.
    return None if read.unreadable else read.data


def _is_of(person: Json, patient: str, when: int) -> bool:
    """Whether a RelatedPerson is active now, and of this patient."""
    named = person.get("patient", {}).get("reference")
    if named != f"Patient/{patient}" or person.get("active") is False:
        return False
    period = person.get("period") or {}
    return _starts(period) <= when < _ends(period)


def _starts(period: Json) -> int:
    found = time_meant(str(period.get("start", "")))
    return found.low if found else FIRST if "start" not in period else LAST


def _ends(period: Json) -> int:
    found = time_meant(str(period.get("end", "")))
    return found.high if found else LAST if "end" not in period else FIRST


def _consents(store: Store, patient: str) -> Iterator[Version]:
    pairs = [("patient", f"Patient/{patient}"), ("_count", str(MOST))]
    yield from store.search(Query.parse("Consent", pairs)).matches


def _refuses(data: Json, related_person: str, when: int) -> bool:
    against = (Actor("reference", f"RelatedPerson/{related_person}"), Actor("everybody"))
    return any(
        each.actor in against and each.low <= when < each.high
        for each in consents.objections(data).objections
    )


def _is_parent(person: Json) -> bool:
    return any(
        coding.get("system") == ROLES and coding.get("code") in PARENTS
        for concept in person.get("relationship", ())
        for coding in concept.get("coding", ())
    )


def _is_small(patient: Json, settings: Settings, now: datetime) -> bool:
    """Whether a patient is younger than the age until which parents speak for a child; one whose day of birth
    is not known to the day is not."""
    try:
        born = date.fromisoformat(str(patient.get("birthDate", "")))
    except ValueError:
        return False
    today = now.astimezone(settings.site.zone).date()
    years = today.year - born.year - ((today.month, today.day) < (born.month, born.day))
    return born <= today and years < settings.access.proxy_until_age

"""Finds the sender of a letter to a patient, how to reach them, and the visit that is booked.

It uses only what the record says; the rest is left open for the person who releases the letter. A letter
names no specialty: instead of a department it names the organisation that the department is part of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_coprod.errors import NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts.reader import Reader, gather
from fhir_coprod.watch.record.fhir import split, target
from fhir_coprod.watch.record.model import Appointment, AppointmentState
from fhir_coprod.watch.rules.standing import Standing

_SENDERS: Final = ("Organization/", "PractitionerRole/", "Practitioner/", "HealthcareService/")
_ABOVE: Final = ("partOf", "organization", "providedBy")
"""The elements by which Organization, PractitionerRole and HealthcareService name what they belong to."""
_PROVIDER: Final = "prov"
"""Organization.type of a whole provider; the name of a smaller unit may give away the illness."""
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender, as far as the record knows; "" for what it does not know."""

    name: str = ""
    address: tuple[str, ...] = ()
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Ahead:
    """The next booked visit."""

    start: datetime
    place: str = ""


@dataclass(frozen=True, slots=True)
class Particulars:
    """What the record adds to a letter."""

    sender: Sender = Sender()
    visit: Ahead | None = None


def sender_of(standing: Standing) -> str:
    """The sender's reference: who can move the referral, or else who has it now, or else the watch itself."""
    owners = [*(stall.owner for stall in resources.gravest_first(standing.stalls)), standing.owner]
    return next((owner for owner in owners if owner.startswith(_SENDERS)), resources.DEVICE)


def particulars(store: Store, settings: Settings, standing: Standing, now: datetime) -> Particulars:
    """The sender and the visit for letters about a referral."""
    with store.connect() as connection:
        reader = Reader(connection, settings)
        sender = _sender(reader, sender_of(standing))
    return Particulars(sender, _visit(store, settings, standing, now))


def _sender(reader: Reader, name: str) -> Sender:
    """The sender, from the department upwards: the nearest telephone number, and the name and address of the
    whole organisation."""
    chain: list[Json] = []
    seen: set[str] = set()
    while name.startswith(_SENDERS) and name not in seen and len(chain) < _DEEPEST:
        seen.add(name)
        data = _data(reader, name)
        chain.append(data)
        name = next((above for key in _ABOVE if (above := target(data.get(key)))), "")
    organisations = [data for data in chain if data.get("resourceType") == "Organization"]
    if not organisations:
        return Sender(phone=_reach(chain, "phone"), email=_reach(chain, "email"))
    top = organisations[-1]
    whole = len(organisations) > 1 or _PROVIDER in _type_codes(top)
    lines = next((found for data in reversed(organisations) if (found := _address(data))), ())
    return Sender(
        str(top.get("name") or "") if whole else "",
        lines if whole else (),
        _reach(chain, "phone"),
        _reach(chain, "email") if whole else "",
    )


def _data(reader: Reader, name: str) -> Json:
    return next((row.data for row in reader.by_reference({split(name)})), {})


def _type_codes(organisation: Json) -> set[str]:
    return {
        str(coding.get("code", ""))
        for concept in organisation.get("type") or ()
        for coding in concept.get("coding") or ()
    }


def _reach(chain: list[Json], system: str) -> str:
    for data in chain:
        usable = [
            point
            for point in data.get("telecom") or ()
            if point.get("system") == system
            and point.get("value")
            and point.get("use") not in ("old", "home")
        ]
        if usable:
            return str(min(usable, key=lambda point: point.get("rank") or 99)["value"])
    return ""


def _address(data: Json) -> tuple[str, ...]:
    """The lines of the address; if there are several addresses, of the first."""
    given = data.get("address") or []
    several: list[Json] = given if isinstance(given, list) else [given]  # a Location has one
    for address in several:
        if address.get("use") == "old":
            continue
        town = " ".join(str(address[part]) for part in ("postalCode", "city") if address.get(part))
        lines = [*(str(line) for line in address.get("line") or () if line), *([town] if town else [])]
        if lines:
            return tuple(lines)
        if address.get("text"):
            return tuple(str(address["text"]).splitlines())
    return ()


def _visit(store: Store, settings: Settings, standing: Standing, now: datetime) -> Ahead | None:
    """The next booking in the future."""
    try:
        known = gather(store, standing.referral, settings)
    except NotFound:
        return None
    ahead = [
        (state.start, appointment.id)
        for appointment in known.appointments
        if (state := _state(appointment, now)).status == "booked"
        if state.start is not None and state.start > now
    ]
    if not ahead:
        return None
    start, name = min(ahead)
    with store.connect() as connection:
        return Ahead(start, _place(Reader(connection, settings), name))


def _state(appointment: Appointment, now: datetime) -> AppointmentState:
    """The state at `now`; before the time of the first state, the first state."""
    return next((state for state in reversed(appointment.states) if state.at <= now), appointment.states[0])


def _place(reader: Reader, appointment: str) -> str:
    """The address of the place, with its own name only if it is a building, a floor or a room."""
    data = _data(reader, appointment if "/" in appointment else f"Appointment/{appointment}")
    for participant in data.get("participant") or ():
        name = target(participant.get("actor"))
        if name.startswith("Location/"):
            location = _data(reader, name)
            own = [str(location["name"])] if location.get("name") and location.get("physicalType") else []
            return ", ".join([*own, *_address(location)])
    return ""

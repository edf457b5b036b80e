"""What is wrong with records as hospitals have them: faults of form, of content, and records that break off.

Unlike the noise (`noise.py`), which tells something untrue in a sound record, a fault spoils the record
itself. The shares are assumptions; nobody has published how often each fault happens.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from fhir_coprod.simulate.noise import Delivery

Json = dict[str, Any]


class Fault(NamedTuple):
    """One kind of fault."""

    share: float
    """Of all faults."""
    spoil: Callable[[Json, Random], Json]


_DATES: Final = ("authoredOn", "lastModified", "created", "start", "end", "issued", "sent", "date")
_LINKS: Final = ("focus", "basedOn", "about", "owner", "requester", "performer", "recipient", "appointment")
_WHICH: Final = frozenset({"resourceType", "id"})
_SHAPES: Final[tuple[Any, ...]] = (
    "",
    "text",
    5,
    True,
    [],
    {},
    [[]],
    [5],
    {"reference": 5},
    {"coding": {}},
    {"start": "yesterday"},
)
_NO_DATES: Final = ("2026-13-45", "yesterday", "0000", "2026-02-30T25:61:00", "")
_NO_LINKS: Final = ({"reference": ""}, {"display": "see letter"}, {"reference": 7}, {"reference": "unknown"})
_NO_STATUS: Final = ("Booked", "in_progress", "done", "ACTIVE", "closed")


def _shape(data: Json, chance: Random) -> Json:
    """One element has a value of the wrong shape."""
    name = chance.choice(sorted(data.keys() - _WHICH))
    wrong = chance.choice([shape for shape in _SHAPES if type(shape) is not type(data[name])])
    return {**data, name: wrong}


def _date(data: Json, chance: Random) -> Json:
    """A date is none."""
    dates = [name for name in _DATES if name in data]
    if not dates:
        return _shape(data, chance)
    return {**data, chance.choice(dates): chance.choice(_NO_DATES)}


def _link(data: Json, chance: Random) -> Json:
    """A reference names nothing."""
    links = [name for name in _LINKS if name in data]
    if not links:
        return _shape(data, chance)
    name, wrong = chance.choice(links), chance.choice(_NO_LINKS)
    return {**data, name: [wrong] if isinstance(data[name], list) else wrong}


def _status(data: Json, chance: Random) -> Json:
    """A status that R4 does not have."""
    return {**data, "status": chance.choice(_NO_STATUS)} if "status" in data else _shape(data, chance)


def _missing(data: Json, chance: Random) -> Json:
    """A required element is missing."""
    required = [name for name in ("status", "subject", "intent", "code") if name in data]
    if not required:
        return _shape(data, chance)
    gone = chance.choice(required)
    return {name: value for name, value in data.items() if name != gone}


def _beside(data: Json, chance: Random) -> Json:
    """A side element names the wrong thing, or a thing in the wrong way."""
    wrong = chance.choice(("Observation", "Slot/", 5))
    return {**data, "reasonReference": [{"reference": wrong}], "note": "called twice"}


def _foreign(data: Json, chance: Random) -> Json:
    """A code of the site's own in place of the one that everybody knows."""
    name = "code" if "code" in data else "reasonCode"
    own = {"coding": [{"system": "urn:example:local", "code": f"L{chance.randint(100, 999)}"}]}
    return {**data, name: own if name == "code" else [own]}


def _modified(data: Json, chance: Random) -> Json:
    """A modifier that nobody here knows."""
    return {
        **data,
        "modifierExtension": [{"url": "urn:example:reading", "valueBoolean": chance.random() < 0.5}],
    }


def _broken(data: Json, chance: Random) -> Json:
    """The text breaks off: nobody can tell more than which record it was."""
    return {name: data[name] for name in sorted(_WHICH)}


FAULTS: Final = MappingProxyType(
    {
        "unreadable": Fault(0.15, _broken),
        "wrong shape": Fault(0.25, _shape),
        "no date": Fault(0.12, _date),
        "reference that names nothing": Fault(0.12, _link),
        "unknown status": Fault(0.08, _status),
        "missing element": Fault(0.08, _missing),
        "fault in a side element": Fault(0.1, _beside),
        "foreign code": Fault(0.05, _foreign),
        "unknown modifier": Fault(0.05, _modified),
    }
)
"""The kinds of faults, each with its share."""


def soiled(deliveries: list[Delivery], share: float, chance: Random) -> list[Delivery]:
    """The same deliveries, of which a share has a fault; those about the patient as such have none."""
    found: list[Delivery] = []
    kinds, weights = list(FAULTS), [fault.share for fault in FAULTS.values()]
    for delivery in deliveries:
        if delivery.referral and chance.random() < share:
            kind = chance.choices(kinds, weights)[0]
            data = FAULTS[kind].spoil(delivery.data, chance)
            found.append(delivery._replace(data=data, fault=kind))
        else:
            found.append(delivery)
    return found

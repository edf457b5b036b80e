"""What is remembered of one call: who asked for what, what was answered, and whom it was about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fhir_coprod import jsontext
from fhir_coprod.access.rights import Rights
from fhir_coprod.audit.chain import Head, Row, link, month_of
from fhir_coprod.store import Version

_REFERENCE = re.compile(rb'"reference"\s*:\s*"Patient\\?/([A-Za-z0-9\-.]{1,64})')


class About(NamedTuple):
    """One resource that a call was about.

    version: 0 if it was asked for and not shown
    patient: the id of the Patient that it is about; "" for none
    """

    type: str
    id: str
    version: int = 0
    patient: str = ""


class Event(NamedTuple):
    """One call. No clinical content and no names of patients.

    session: tells this sign-in of the caller from others
    departments: references, separated by spaces
    purpose: BTG where the glass was broken, else ""
    status:  of the answer, as in HTTP
    query:   as `queries.remembered` makes it
    """

    kind: str
    who: str
    session: str
    address: str
    departments: str
    purpose: str
    interaction: str
    type: str = ""
    id: str = ""
    version: str = ""
    status: int = 200
    query: str = ""
    about: tuple[About, ...] = ()


def by(rights: Rights, address: str) -> tuple[str, str, str, str, str, str]:
    """The first members of an Event: who it was."""
    purpose = "BTG" if rights.glass else ""
    return rights.kind, rights.name, rights.session, address, " ".join(rights.departments), purpose


def shown(version: Version) -> Iterator[About]:
    """What is remembered of a version that was shown or written: a row for each patient that it names."""
    yield from about(version.type, version.id, version.version, version.body)


def about(type: str, id: str, version: int, body: bytes) -> Iterator[About]:
    """The same, of a resource by its text."""
    if type == "Patient":
        yield About(type, id, version, id)
        return
    patients = patients_in(body)
    for patient in patients or ("",):
        yield About(type, id, version, patient)


def patients_in(body: bytes) -> tuple[str, ...]:
    """Ids of the patients to whom a resource refers, each once, the first one first."""
    if b"\\u" in body:
        # A name may be spelled with escapes. To parse each body would cost more than to read it did.
        body = jsontext.encode(jsontext.decode(body))
    return tuple(dict.fromkeys(id.decode() for id in _REFERENCE.findall(body)))


def rows(head: Head, events: Iterable[Event], at: int) -> tuple[Head, list[Row], list[Row]]:
    """The rows that go on with a chain: its new end, those of audit_call, and those of audit_resource.

    at: milliseconds
    """
    calls: list[Row] = []
    resources: list[Row] = []
    month = month_of(at)
    name, number, previous = head
    for event in events:
        number += 1
        call = (month, name, number, at, *event[:-1])
        own = [(month, name, number, place, at, *each) for place, each in enumerate(event.about)]
        previous = link(previous, call, own)
        calls.append((*call, previous))
        resources += own
    return Head(name, number, previous), calls, resources


def from_rows(call: Sequence[Any], resources: Iterable[Sequence[Any]]) -> Event:
    """The event that rows were made of."""
    return Event._make((*call[4:-1], tuple(About(*row[5:]) for row in resources)))

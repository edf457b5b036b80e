"""Reads ServiceRequests, and the Communications by which patients ask for one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from fhir_coprod.alike import is_proposal, thing
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.fhir import (
    PERSONS,
    codes,
    local,
    moment,
    profiles,
    target,
    targets,
)
from fhir_coprod.watch.record.model import (
    Request,
    RequestState,
    Sibling,
)
from fhir_coprod.watch.record.parties import between

_STATED_LATER: Final = frozenset({"completed", "revoked", "on-hold", "entered-in-error"})
_WHY: Final = "http://hl7.org/fhir/StructureDefinition/request-statusReason"
"""The extension by which R4 says why a ServiceRequest is in its status."""


def read_request(held: Held, around: Surroundings) -> Request:
    """Read a ServiceRequest."""
    data = held.data
    stored = held.versions[0][0]
    authored = moment(data.get("authoredOn"), around.zone)
    requester = local(data.get("requester"), data)
    performers = [local(performer, data) for performer in data.get("performer") or ()]
    return Request(
        id=held.reference,
        patient=target(data.get("subject")),
        states=_request_states(held, authored),
        authored=authored or stored,
        intent=data.get("intent") or "order",
        by_patient=target(data.get("requester")).startswith(PERSONS),
        priority=data.get("priority") or "routine",
        codes=thing(data.get("code")),
        specialties=codes(data.get("performerType"), *(data.get("category") or ())),
        requesters=around.parties(requester),
        departments=around.parties(*performers),
        based_on=targets(data.get("basedOn")),
        replaces=targets(data.get("replaces")),
        requisition="|".join(_identifier(data.get("requisition"))),
        do_not_perform=data.get("doNotPerform") is True,
        authored_stored=authored is None,
        wanted_from=_wanted_from(data, around),
        because=around.words.of(
            *(
                one.get("valueCodeableConcept")
                for one in data.get("extension") or ()
                if one.get("url") == _WHY
            )
        ),
        profiles=tuple(profiles(data)),
        between=between(
            around.side(requester),
            [side for performer in performers if (side := around.side(performer))],
            around.places,
        ),
        says=around.words.of_order(data.get("code"), *(data.get("category") or ())),
    )


def _wanted_from(data: Json, around: Surroundings) -> datetime | None:
    """When what is asked for should happen, or begin."""
    period = data.get("occurrencePeriod") or {}
    return moment(data.get("occurrenceDateTime") or period.get("start"), around.zone)


def read_asking(held: Held, around: Surroundings) -> Request:
    """Read a Communication by which a patient asks for a referral."""
    data = held.data
    sent = moment(data.get("sent"), around.zone)
    stored = held.versions[0][0]
    void = data.get("status") in ("entered-in-error", "not-done")
    status = "entered-in-error" if void else "draft" if data.get("status") == "preparation" else "active"
    return Request(
        id=held.reference,
        patient=target(data.get("subject")) or target(data.get("sender")),
        states=(RequestState(sent or stored, status, sent is None),),
        authored=sent or stored,
        intent="proposal",
        by_patient=True,
        priority=data.get("priority") or "routine",
        requesters=around.parties(data.get("sender")),
        departments=around.parties(*(data.get("recipient") or ())),
        based_on=(*targets(data.get("basedOn")), *targets(data.get("about"))),
        authored_stored=sent is None,
    )


def _identifier(identifier: Json | None) -> Iterator[str]:
    if identifier and identifier.get("value"):
        yield identifier.get("system", "")
        yield identifier["value"]


def _request_states(held: Held, authored: datetime | None) -> tuple[RequestState, ...]:
    """The statuses it went through. Only the first can have a time of its own (authoredOn), and only if it is
    a status in which a request can be written."""
    states: list[RequestState] = []
    for stored, data in held.versions:
        status = data.get("status") or "unknown"
        if states and states[-1].status == status:
            continue
        if not states and authored is not None and status not in _STATED_LATER:
            states.append(RequestState(authored, status))
        else:
            states.append(RequestState(stored, status, stored=True))
    return tuple(states)


def read_sibling(held: Held, around: Surroundings, departments: tuple[str, ...] = ()) -> Sibling:
    """Read another ServiceRequest of the same patient; `departments` are the ones its Tasks ask."""
    request = read_request(held, around)
    return Sibling(
        id=request.id,
        authored=request.authored,
        states=request.states,
        by_patient=is_proposal(held.data),
        codes=request.codes,
        departments=departments or request.departments,
        based_on=(*request.based_on, *targets(held.data.get("supportingInfo"))),
        replaces=request.replaces,
        requisition=request.requisition,
    )

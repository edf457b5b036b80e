"""Turns FHIR resources, with all the versions we hold of them, into the `Facts` of a referral. Pure.

Times follow one rule: take the event's own time (Task.lastModified, Appointment.created, Encounter.period,
issued, sent) from the first version that shows it, never the time of a later edit. If the event carries no
time, take the time at which we first stored it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from fhir_coprod.alike import is_proposal, thing
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.fhir import (
    LAST,
    PERSONS,
    codes,
    is_followup,
    is_referral_task,
    is_written_information,
    last_moment,
    local,
    message_about,
    moment,
    profiles,
    side_task_about,
    target,
    targets,
)
from fhir_coprod.watch.record.kin import may_matter
from fhir_coprod.watch.record.model import (
    Appointment,
    AppointmentState,
    Blind,
    Facts,
    Message,
    Request,
    RequestState,
    Result,
    Sibling,
    SideTask,
    Task,
    TaskState,
    Visit,
)
from fhir_coprod.watch.record.parties import between

FINAL_REPORT: Final = frozenset({"final", "amended", "corrected", "appended"})
FINAL_DOCUMENT: Final = frozenset({"final", "amended"})
PRESENT: Final = frozenset({"arrived", "triaged", "in-progress", "onleave", "finished"})
_STATED_LATER: Final = frozenset({"completed", "revoked", "on-hold", "entered-in-error"})
_LONGEST: Final = 400 * 366 * 24 * 60
"""Minutes: more than there are between FIRST and LAST, the earliest and latest times we read."""
_HERE: Final = frozenset({"arrived", "checked-in", "fulfilled"})


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
        profiles=tuple(profiles(data)),
        between=between(
            around.side(requester),
            [side for performer in performers if (side := around.side(performer))],
            around.places,
        ),
    )


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


def read_task(held: Held, around: Surroundings) -> Task:
    """Read a Task that asks a department to take the referral on."""
    data = held.data
    return Task(
        id=held.reference,
        states=tuple(_task_states(held, around)),
        authored=moment(data.get("authoredOn"), around.zone),
        requesters=around.parties(data.get("requester")),
    )


def _task_states(held: Held, around: Surroundings) -> list[TaskState]:
    """Every version, timed by its own lastModified; versions that change nothing for the watch are merged."""
    states: list[TaskState] = []
    before: Json = {}
    for stored, data in held.versions:
        at = moment(data.get("lastModified"), around.zone)
        if before and at is not None and _stale(before, data):
            at = None
        if not before and at is None:
            at = moment(data.get("authoredOn"), around.zone)
        restriction = (data.get("restriction") or {}).get("period") or {}
        states.append(
            TaskState(
                at=at or stored,
                status=data.get("status") or "unknown",
                stored=at is None,
                owner=target(local(data.get("owner"), data)),
                departments=around.parties(local(data.get("owner"), data)),
                reasons=codes(data.get("statusReason"), data.get("businessStatus")),
                review=last_moment(restriction.get("end"), around.zone),
                outputs=targets(output.get("valueReference") for output in data.get("output") or ()),
            )
        )
        before = data
    if len(states) == 1:
        return states
    return _merged(_ordered(states))


def _stale(before: Json, data: Json) -> bool:
    """Whether the status changed but lastModified did not, so that it is not the time of the change."""
    return data.get("status") != before.get("status") and data.get("lastModified") == before.get(
        "lastModified"
    )


def _ordered(states: list[TaskState]) -> list[TaskState]:
    """The states in the order of their own times, so that the order of arrival does not matter.

    If any of them has no time of its own, the order of versions is kept, and a stored time is never later
    than the time of a state that came after it.
    """
    if not any(state.stored for state in states):
        return sorted(states, key=lambda state: state.at)
    capped = states[-1:]
    for state in reversed(states[:-1]):
        at = min(state.at, capped[-1].at)
        capped.append(state if at == state.at else _replace_at(state, at))
    return capped[::-1]


def _replace_at(state: TaskState, at: datetime) -> TaskState:
    return TaskState(
        at,
        state.status,
        state.stored,
        state.owner,
        state.departments,
        state.reasons,
        state.review,
        state.outputs,
    )


def _merged(states: list[TaskState]) -> list[TaskState]:
    """The states without those that change nothing for the watch."""
    kept = states[:1]
    for earlier, state in pairwise(states):
        if _content(state) != _content(earlier):
            kept.append(state)
    return kept


def _content(state: TaskState) -> tuple[Any, ...]:
    return (state.status, state.owner, state.departments, state.reasons, state.review, state.outputs)


def read_side_task(held: Held, around: Surroundings) -> SideTask:
    """Read a Task that is about the referral but does not ask a department to take it on."""
    data = held.data
    return SideTask(
        id=held.reference,
        states=tuple(
            RequestState(state.at, state.status, state.stored) for state in _task_states(held, around)
        ),
        owners=around.parties(data.get("owner")),
        about=side_task_about(data),
    )


def read_appointment(held: Held, around: Surroundings, task: str = "") -> Appointment:
    """Read an Appointment."""
    first_stored = held.versions[0][0]
    created = moment(held.data.get("created"), around.zone)
    states: list[AppointmentState] = []
    for stored, data in held.versions:
        status = data.get("status") or "unknown"
        start, end = moment(data.get("start"), around.zone), moment(data.get("end"), around.zone)
        if start and not end and isinstance(data.get("minutesDuration"), int):
            end = _after_minutes(start, data["minutesDuration"])
        inherent = (
            start
            if status in _HERE or status == "cancelled"
            else (end or start)
            if status == "noshow"
            else None
        )
        if inherent is not None and inherent <= stored:
            at, known = inherent, True
        elif not states and created is not None and status not in ("cancelled", "noshow", *_HERE):
            at, known = created, True
        else:
            at, known = stored, False
        state = AppointmentState(at, status, not known, start, end)
        if not states or (states[-1].status, states[-1].start, states[-1].end) != (status, start, end):
            states.append(state)
    actors = [participant.get("actor") for participant in held.data.get("participant") or ()]
    return Appointment(
        id=held.reference,
        created=created or first_stored,
        states=tuple(states),
        created_stored=created is None,
        departments=_staff(around.parties(*actors)),
        task=task,
    )


def _after_minutes(start: datetime, minutes: int) -> datetime:
    """The end of an Appointment, not after LAST: R4 sets no limit to `minutesDuration`."""
    return min(start + timedelta(minutes=max(0, min(minutes, _LONGEST))), LAST)


def _staff(parties: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(party for party in parties if not party.startswith(PERSONS))


def read_visit(held: Held, around: Surroundings, task: str = "") -> Visit | None:
    """Read an Encounter that the patient attended; None for a planned, cancelled or unknown one."""
    data = held.data
    if data.get("status") not in PRESENT:
        return None
    period = data.get("period") or {}
    start = moment(period.get("start"), around.zone)
    end = last_moment(period.get("end"), around.zone)
    finished_unsaid = data["status"] == "finished" and end is None
    if finished_unsaid:
        end = _first_stored(held, lambda version: version.get("status") == "finished")
    began = start or (None if finished_unsaid else end)
    people = [participant.get("individual") for participant in data.get("participant") or ()]
    return Visit(
        id=held.reference,
        start=began or _first_stored(held, lambda version: version.get("status") in PRESENT),
        end=end,
        start_stored=began is None,
        end_stored=finished_unsaid,
        departments=_staff(around.parties(data.get("serviceProvider"), *people)),
        task=task,
    )


def _first_stored(held: Held, holds: Callable[[Json], bool]) -> datetime:
    """When we first stored a version for which `holds` is true; it is true for the current one."""
    return next((stored for stored, data in held.versions if holds(data)), held.versions[-1][0])


def read_result(held: Held, around: Surroundings, task: str = "") -> Result | None:
    """Read a final DiagnosticReport or DocumentReference; None if it is not a result, or not yet."""
    data = held.data
    if held.type == "DiagnosticReport":
        status, final, time_key = "status", FINAL_REPORT, "issued"
        authors = around.parties(*(data.get("performer") or ()), *(data.get("resultsInterpreter") or ()))
    else:
        status, final, time_key = "docStatus", FINAL_DOCUMENT, "date"
        authors = around.parties(*(data.get("author") or ())) or around.parties(data.get("custodian"))
        if data.get("status") == "entered-in-error" or is_written_information(data):
            return None
    if data.get(status) not in final:
        return None
    if authors and not _staff(authors):
        return None
    first_stored, first = next(
        (version for version in held.versions if version[1].get(status) in final), held.versions[-1]
    )
    at = moment(first.get(time_key), around.zone)
    return Result(held.reference, at or first_stored, at is None, _staff(authors), task)


def read_message(held: Held, around: Surroundings) -> Message | None:
    """Read a completed Communication and when it was sent; None for a draft or an unknown time, which prove
    nothing."""
    data = held.data
    sent, latest = moment(data.get("sent"), around.zone), last_moment(data.get("sent"), around.zone)
    if data.get("status") != "completed" or sent is None or latest is None:
        return None
    return Message(sent, latest, around.parties(*(data.get("recipient") or ())))


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


def objects_to_contact(held: Held, related: frozenset[str]) -> bool:
    """Whether the patient asked for no messages, about this referral or at all."""
    data = held.data
    if held.type == "CommunicationRequest":
        about = message_about(data)
        stands = data.get("status") not in ("revoked", "entered-in-error", "draft")
        return stands and data.get("doNotPerform") is True and (not about or not related.isdisjoint(about))
    if held.type == "Communication":
        objected = any(code.endswith("|patient-objection") for code in codes(data.get("statusReason")))
        return data.get("status") == "not-done" and objected and not related.isdisjoint(message_about(data))
    return any(code.endswith("|do-not-contact") for code in codes(*(data.get("orderDetail") or ())))


def compose(
    request: Held,
    related: Iterable[Held],
    siblings: Iterable[tuple[Held, tuple[str, ...]]] = (),
    proxies: tuple[str, ...] = (),
    blind: tuple[Blind, ...] = (),
    around: Surroundings | None = None,
) -> Facts:
    """All facts about one referral, from the resources found around it.

    request:  the ServiceRequest, or the Communication by which a patient asks.
    related:  Tasks, Appointments, Encounters, reports, documents, Communications, CommunicationRequests that
              may belong to it; those that turn out not to are left out.
    siblings: other ServiceRequests of the patient that may matter to it, each with the departments that its
              Tasks ask; those that do not are left out.
    proxies:  active RelatedPersons of the patient.
    """
    around = around or Surroundings()
    by_type: dict[str, list[Held]] = {}
    for held in related:
        by_type.setdefault(held.type, []).append(held)
    asked = [
        held
        for held in by_type.get("Task", ())
        if target(held.data.get("focus")) == request.reference and is_referral_task(held.data)
    ]
    tasks = tuple(read_task(held, around) for held in asked)
    task_of = {output: task.id for task in tasks for state in task.states for output in state.outputs}
    names = {request.reference, *(task.id for task in tasks)}

    appointments = []
    for held in by_type.get("Appointment", ()):
        appointments.append(read_appointment(held, around, _named_task(held.data.get("basedOn"), names)))
        names.add(held.reference)
    visits = []
    for held in by_type.get("Encounter", ()):
        names.add(held.reference)
        if visit := read_visit(held, around, _task_of_visit(held, appointments)):
            visits.append(visit)
    results = []
    for held in (*by_type.get("DiagnosticReport", ()), *by_type.get("DocumentReference", ())):
        names.add(held.reference)
        if result := read_result(held, around, task_of.get(held.reference, "")):
            results.append(result)
    side_tasks = []
    for held in by_type.get("Task", ()):
        if held in asked or is_followup(held.data):
            continue
        side = read_side_task(held, around)
        if not names.isdisjoint(side.about):
            side_tasks.append(side)
    related_names = frozenset(names)
    messages = []
    silent = objects_to_contact(request, related_names)
    for held in (*by_type.get("Communication", ()), *by_type.get("CommunicationRequest", ())):
        silent = silent or objects_to_contact(held, related_names)
        if held.type == "Communication" and not related_names.isdisjoint(message_about(held.data)):
            message = read_message(held, around)
            if message and held.reference != request.reference:
                messages.append(message)
    read = read_asking if request.type == "Communication" else read_request
    root = read(request, around)
    others = (read_sibling(held, around, departments) for held, departments in siblings)
    return Facts(
        request=root,
        tasks=tasks,
        appointments=tuple(appointments),
        visits=tuple(visits),
        results=tuple(results),
        messages=tuple(messages),
        side_tasks=tuple(side_tasks),
        siblings=tuple(other for other in others if may_matter(other, root)),
        proxies=proxies,
        do_not_contact=silent,
        blind=blind,
    )


def _named_task(references: Iterable[Json] | None, names: set[str]) -> str:
    return next((name for name in targets(references) if name in names and name.startswith("Task/")), "")


def _task_of_visit(held: Held, appointments: Sequence[Appointment]) -> str:
    booked = targets(held.data.get("appointment"))
    return next((a.task for a in appointments if a.id in booked and a.task), "")

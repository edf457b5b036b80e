"""Reads Tasks: those that ask a department to take a referral on, and those that are about one otherwise.
Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

import msgspec

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.fhir import (
    PERSONS,
    codes,
    is_followup,
    last_moment,
    local,
    moment,
    names,
    side_task_about,
    target,
    targets,
)
from fhir_coprod.watch.record.model import RequestState, SideTask, Task, TaskState
from fhir_coprod.watch.record.parties import Between, between
from fhir_coprod.watch.record.words import Words

_ASKS_OTHERWISE: Final = frozenset({"asks-otherwise", "asks-to-cancel", "tells-patient"})


def may_ask(data: Json, meanings: Words) -> bool:
    """Whether a Task may ask for a referral at all: it is none of ours, not the patient's, and its code
    asks for nothing else about the referral (abort, approve, suspend, resume, change, replace)."""
    if is_followup(data) or target(data.get("owner")).startswith(PERSONS):
        return False
    return _ASKS_OTHERWISE.isdisjoint(meanings.of(data.get("code")))


def asks(data: Json, performers: Collection[str], around: Surroundings) -> bool:
    """Whether a Task that is about a ServiceRequest asks a department to carry it out.

    It does if its owner is a performer of the request, whatever its code; or if its code is absent,
    `fulfill` or translated as asking, and its owner does not pay for care (prior authorisation is no
    acceptance).

    performers: the request's performers and everybody behind them.
    """
    if not may_ask(data, around.words):
        return False
    owner = local(data.get("owner"), data)
    if performers and owner and not set(performers).isdisjoint(around.parties(owner)):
        return True
    code = data.get("code")
    if codes(code) and "asks" not in around.words.of(code):
        return False
    return not any(around.payers.get(party) for party in around.parties(owner))


def read_task(held: Held, around: Surroundings, request: Json) -> Task:
    """Read a Task that asks a department to take the referral on.

    request: the ServiceRequest
    """
    data = held.data
    states = tuple(task_states(held, around))
    return Task(
        id=held.reference,
        states=states,
        authored=moment(data.get("authoredOn"), around.zone),
        requesters=around.parties(data.get("requester")),
        part_of=names(data.get("partOf")),
        colleagues=tuple(_colleagues(states, request, around)),
    )


def _colleagues(states: Iterable[TaskState], request: Json, around: Surroundings) -> Iterator[str]:
    """The owners who belong to the department of whoever wrote the order."""
    requester = around.side(local(request.get("requester"), request))
    for owner in dict.fromkeys(state.owner for state in states if state.owner):
        side = around.side({"reference": owner})
        if side and between(requester, [side], around.places) is Between.SAME_DEPARTMENT:
            yield owner


def task_states(held: Held, around: Surroundings) -> list[TaskState]:
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
        outputs = data.get("output") or ()
        states.append(
            TaskState(
                at=at or stored,
                status=data.get("status") or "unknown",
                stored=at is None,
                owner=target(local(data.get("owner"), data)),
                departments=around.parties(local(data.get("owner"), data)),
                reasons=codes(data.get("statusReason"), data.get("businessStatus")),
                review=last_moment(restriction.get("end"), around.zone),
                outputs=targets(output.get("valueReference") for output in outputs),
                says=around.words.of(data.get("businessStatus")),
                because=around.words.of(data.get("statusReason")),
                answers=any(_says_something(output) for output in outputs),
            )
        )
        before = data
    if len(states) == 1:
        return states
    return _merged(_ordered(states))


def _says_something(output: Json) -> bool:
    """Whether a Task's output is an answer in itself: a value that is no reference."""
    return any(key.startswith("value") and key != "valueReference" for key in output)


def _stale(before: Json, data: Json) -> bool:
    """Whether the status changed but lastModified did not, so that it is not the time of the change."""
    changed = data.get("status") != before.get("status") or data.get("businessStatus") != before.get(
        "businessStatus"
    )
    return changed and data.get("lastModified") == before.get("lastModified")


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
        capped.append(state if at == state.at else msgspec.structs.replace(state, at=at))
    return capped[::-1]


def _merged(states: list[TaskState]) -> list[TaskState]:
    """The states without those that change nothing for the watch."""
    kept = states[:1]
    for earlier, state in pairwise(states):
        if _content(state) != _content(earlier):
            kept.append(state)
    return kept


def _content(state: TaskState) -> tuple[Any, ...]:
    return (
        state.status,
        state.owner,
        state.departments,
        state.reasons,
        state.review,
        state.outputs,
        state.says,
        state.because,
        state.answers,
    )


def read_side_task(held: Held, around: Surroundings) -> SideTask:
    """Read a Task that is about the referral but does not ask a department to take it on."""
    data = held.data
    return SideTask(
        id=held.reference,
        states=tuple(
            RequestState(state.at, state.status, state.stored) for state in task_states(held, around)
        ),
        owners=around.parties(data.get("owner")),
        about=side_task_about(data),
        says=around.words.of(data.get("code")),
        authored=moment(data.get("authoredOn"), around.zone),
    )


def carried_out(task: Task, above: Iterable[Task], requesters: Collection[str]) -> Task:
    """The same Task with the Tasks of the referral above that it is a part of: those that it names, or
    those of the department that wrote the referral it carries out (`requesters`)."""
    named = tuple(one.id for one in above if one.id in task.part_of)
    by = tuple(one.id for one in above if not set(one.states[-1].departments).isdisjoint(requesters))
    return msgspec.structs.replace(task, part_of=named or by)

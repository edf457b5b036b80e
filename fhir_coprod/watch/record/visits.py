"""Reads Appointments and Encounters. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from fhir_coprod.watch.record.around import Held, Surroundings, staff
from fhir_coprod.watch.record.fhir import LAST, last_moment, moment
from fhir_coprod.watch.record.model import Appointment, AppointmentState, Visit

PRESENT: Final = frozenset({"arrived", "triaged", "in-progress", "onleave", "finished"})
_LONGEST: Final = 400 * 366 * 24 * 60
"""Minutes: more than there are between FIRST and LAST, the earliest and latest times we read."""
WAS_THERE: Final = frozenset({"arrived", "checked-in", "fulfilled"})
"""Statuses of an Appointment to which the patient came."""


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
            if status in WAS_THERE or status == "cancelled"
            else (end or start)
            if status == "noshow"
            else None
        )
        if inherent is not None and inherent <= stored:
            at, known = inherent, True
        elif not states and created is not None and status not in ("cancelled", "noshow", *WAS_THERE):
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
        departments=staff(around.parties(*actors)),
        task=task,
    )


def _after_minutes(start: datetime, minutes: int) -> datetime:
    """The end of an Appointment, not after LAST: R4 sets no limit to `minutesDuration`."""
    return min(start + timedelta(minutes=max(0, min(minutes, _LONGEST))), LAST)


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
        end = held.first_stored(lambda version: version.get("status") == "finished")
    began = start or (None if finished_unsaid else end)
    people = [participant.get("individual") for participant in data.get("participant") or ()]
    return Visit(
        id=held.reference,
        start=began or held.first_stored(lambda version: version.get("status") in PRESENT),
        end=end,
        start_stored=began is None,
        end_stored=finished_unsaid,
        departments=staff(around.parties(data.get("serviceProvider"), *people)),
        task=task,
    )

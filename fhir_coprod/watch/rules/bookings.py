"""The bookings and visits of a referral, as they are known at a time. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import Appointment, AppointmentState, Facts
from fhir_coprod.watch.record.visits import WAS_THERE

NO_BOOKING: Final = frozenset({"proposed", "pending", "waitlist", "entered-in-error"})
_AT_ITS_TIME: Final = WAS_THERE | {"noshow"}
"""Statuses that an Appointment can have only from its own start on."""


class Booking(NamedTuple):
    """An Appointment in its present state."""

    appointment: Appointment
    state: AppointmentState

    @property
    def end(self) -> datetime:
        """When it is over: its end, or its start, or else the time it was made."""
        return self.state.end or self.state.start or self.appointment.created


def booking_at(appointment: Appointment, now: datetime) -> Booking | None:
    """The Appointment in its state at `now`; None if it is not made yet, or is not a booking."""
    if appointment.created > now and not appointment.created_stored:
        return None
    if appointment.states[-1].status == "entered-in-error":
        return None
    current = appointment.states[0]
    for state in appointment.states:
        if state.at <= now:
            current = state
    if current.status in NO_BOOKING:
        return None
    if current.at > now and current.status in _AT_ITS_TIME:
        # Its time has not come: we cannot know yet what became of it, only that it was booked.
        current = AppointmentState(
            appointment.created, "booked", appointment.created_stored, current.start, current.end
        )
    return Booking(appointment, current)


def is_booked_ahead(facts: Facts, now: datetime) -> bool:
    """Whether there is a booking in the future."""
    for appointment in facts.appointments:
        booking = booking_at(appointment, now)
        if booking and booking.state.status == "booked":
            start = booking.state.start
            if start is not None and start > now:
                return True
    return False


def has_booking(facts: Facts, now: datetime) -> bool:
    """Whether there is an Appointment of any kind, also one that was cancelled or is only proposed."""
    return any(booking.created <= now or booking.created_stored for booking in facts.appointments)


def has_visit(facts: Facts, now: datetime) -> bool:
    """Whether the patient has been seen, or is there."""
    return any(visit.start <= now or visit.start_stored for visit in facts.visits)

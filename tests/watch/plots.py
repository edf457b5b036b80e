"""Invented referrals for the properties: any mixture of Tasks, bookings, visits, results and messages."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import strategies as st

from fhir_coprod.watch.record.model import (
    Appointment,
    AppointmentState,
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

BEGIN = datetime(2026, 3, 2, 8, tzinfo=UTC)
SPAN = 60
"""Days in which everything happens."""
END = BEGIN + timedelta(days=SPAN)

DEPARTMENTS = ("Organization/ortho", "Organization/neuro")
GP = ("PractitionerRole/gp", "Organization/gp")

times = st.integers(0, SPAN * 8).map(lambda eighths: BEGIN + timedelta(hours=3 * eighths))
TASK_STATUSES = (
    "requested",
    "ready",
    "received",
    "accepted",
    "in-progress",
    "on-hold",
    "completed",
    "rejected",
    "cancelled",
    "failed",
    "limbo",
)
WORDS = (
    "booked",
    "no-show",
    "visit-cancelled",
    "seen",
    "done",
    "advice",
    "awaiting-booking",
    "awaiting-information",
    "cancellation-requested",
    "cancelled-by-patient",
    "cancelled-by-department",
    "forwarded",
)
REASONS = ("x|awaiting-information", "x|patient-choice", "x|other")


@st.composite
def tasks(draw: st.DrawFn, number: int) -> Task:
    owner = draw(st.sampled_from((*DEPARTMENTS, "")))
    moments = sorted(draw(st.sets(times, min_size=1, max_size=4)))
    states = []
    for at in moments:
        status = draw(st.sampled_from(TASK_STATUSES))
        reasons = (draw(st.sampled_from(REASONS)),) if status in ("on-hold", "received") else ()
        review = draw(st.none() | times) if status == "on-hold" else None
        outputs = ("DiagnosticReport/r0",) if draw(st.integers(0, 5)) == 0 else ()
        says = (draw(st.sampled_from(WORDS)),) if draw(st.integers(0, 4)) == 0 else ()
        because = ("cancelled-by-patient",) if status == "cancelled" and draw(st.booleans()) else ()
        answers = status == "completed" and draw(st.integers(0, 4)) == 0
        departments = (owner,) if owner else ()
        states.append(
            TaskState(at, status, False, owner, departments, reasons, review, outputs, says, because, answers)
        )
    part_of = ("Task/t0",) if number and draw(st.integers(0, 5)) == 0 else ()
    return Task(f"Task/t{number}", tuple(states), None, GP, "", part_of)


@st.composite
def appointments(draw: st.DrawFn, number: int, *, ahead: bool) -> Appointment:
    created = draw(times)
    last = (END + timedelta(days=200) - created).days if ahead else (END - created).days
    start = created + timedelta(days=draw(st.integers(0, max(0, last))))
    end = start + timedelta(hours=1)
    states = [AppointmentState(created, "booked", False, start, end)]
    later = draw(st.sampled_from(("", "noshow", "cancelled", "fulfilled", "arrived", "entered-in-error")))
    if later in ("noshow",):
        states.append(AppointmentState(end, later, False, start, end))
    elif later:
        states.append(AppointmentState(start, later, False, start, end))
    department = draw(st.sampled_from((*DEPARTMENTS, "")))
    return Appointment(
        f"Appointment/a{number}", created, tuple(states), False, (department,) if department else ()
    )


@st.composite
def visits(draw: st.DrawFn, number: int) -> Visit:
    start = draw(times)
    end = draw(st.none() | st.just(start + timedelta(hours=2)))
    department = draw(st.sampled_from((*DEPARTMENTS, "")))
    return Visit(f"Encounter/v{number}", start, end, False, False, (department,) if department else ())


@st.composite
def results(draw: st.DrawFn, number: int) -> Result:
    author = draw(st.sampled_from((*DEPARTMENTS, "", "Organization/gp")))
    return Result(f"DiagnosticReport/r{number}", draw(times), False, (author,) if author else ())


@st.composite
def messages(draw: st.DrawFn) -> Message:
    sent = draw(times)
    to = draw(st.sampled_from(("Patient/p", "RelatedPerson/d", "RelatedPerson/x", "Organization/gp")))
    by = draw(st.sampled_from((*DEPARTMENTS, "")))
    return Message(sent, sent, (to,), f"Communication/{sent:%m%d%H}", (by,) if by else ())


@st.composite
def plots(draw: st.DrawFn, *, ahead: bool = False) -> Facts:
    """Facts that all lie between BEGIN and END; with `ahead`, bookings may be later."""
    authored = BEGIN + timedelta(days=draw(st.integers(0, 5)))
    proposal = draw(st.integers(0, 9)) == 0
    statuses = ["active"]
    if draw(st.integers(0, 3)) == 0:
        statuses.append(draw(st.sampled_from(("completed", "revoked", "on-hold", "active"))))
    states = [RequestState(authored, statuses[0])]
    if len(statuses) > 1:
        states.append(RequestState(max(authored, draw(times)), statuses[1], stored=True))
    request = Request(
        id="ServiceRequest/r",
        patient="Patient/p",
        states=tuple(states),
        authored=authored,
        intent="proposal" if proposal else "order",
        by_patient=proposal,
        priority=draw(st.sampled_from(("routine", "routine", "urgent", "asap", "stat"))),
        codes=("x|mri",),
        specialties=("http://snomed.info/sct|3457005",),
        requesters=GP,
    )
    counts = {
        kind: draw(st.integers(0, most))
        for kind, most in (
            ("task", 3),
            ("appointment", 2),
            ("visit", 1),
            ("result", 2),
            ("message", 3),
            ("side", 1),
        )
    }
    side = [
        SideTask(
            f"Task/side{number}",
            (RequestState(draw(times), draw(st.sampled_from(("requested", "completed")))),),
            (draw(st.sampled_from(("PractitionerRole/gp", "Organization/neuro", "Patient/p"))),),
            ("ServiceRequest/r",),
            draw(st.sampled_from(((), ("asks-to-cancel",), ("tells-patient",)))),
            draw(st.none() | times),
        )
        for number in range(counts["side"])
    ]
    siblings = [
        Sibling(
            f"ServiceRequest/{name}",
            at,
            (RequestState(at, "active"),),
            codes=("x|mri",),
            departments=(draw(st.sampled_from(DEPARTMENTS)),),
        )
        for name in ("q",)[: draw(st.integers(0, 1))]
        for at in (draw(times),)
    ]
    return Facts(
        request,
        tuple(draw(tasks(number)) for number in range(counts["task"])),
        tuple(draw(appointments(number, ahead=ahead)) for number in range(counts["appointment"])),
        tuple(draw(visits(number)) for number in range(counts["visit"])),
        tuple(draw(results(number)) for number in range(counts["result"])),
        tuple(draw(messages()) for _ in range(counts["message"])),
        tuple(side),
        tuple(siblings),
        ("RelatedPerson/d",),
        born=draw(st.sampled_from((None, date(1980, 1, 1), date(2015, 1, 1)))),
        deceased=draw(times) if draw(st.integers(0, 15)) == 0 else None,
    )

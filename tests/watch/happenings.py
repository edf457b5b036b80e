"""What may happen to a small hospital: any resource that a referral may have, under few ids, at any time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

Resource = dict[str, Any]

PATIENTS = ("Patient/p1", "Patient/p1", "Patient/p2")
REQUESTS = ("ServiceRequest/s1", "ServiceRequest/s2", "ServiceRequest/s3")
TASKS = ("Task/t1", "Task/t2", "Task/t3")
APPOINTMENTS = ("Appointment/a1", "Appointment/a2")
ENCOUNTERS = ("Encounter/e1",)
RESULTS = ("DiagnosticReport/d1", "DocumentReference/o1")
MESSAGES = ("Communication/m1", "Communication/m2")
STAFF = ("PractitionerRole/gp", "PractitionerRole/ortho", "Organization/ortho", "Organization/heart")
ROLES = STAFF[:2]
OTHERS = ("CommunicationRequest/w1", "RelatedPerson/r1", "Patient/p1")
LABORATORY = [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}]
REFERRAL = [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}]
EVERYTHING = (
    *REQUESTS,
    *TASKS,
    *APPOINTMENTS,
    *ENCOUNTERS,
    *RESULTS,
    *MESSAGES,
    *ROLES,
    *OTHERS,
)


def _of(*names: str) -> st.SearchStrategy[Resource]:
    return st.sampled_from(names).map(lambda name: {"reference": name})


def _code(*codes: str) -> st.SearchStrategy[Resource]:
    return st.sampled_from(codes).map(lambda code: {"coding": [{"system": "urn:codes", "code": code}]})


def _times(now: datetime) -> st.SearchStrategy[str]:
    """Mostly past, some ahead; with a time, or the day alone."""
    hours = st.one_of(st.integers(-90, 40), st.integers(-2000, 900))
    moments = hours.map(lambda hours: now + timedelta(hours=hours))
    return st.one_of(
        moments.map(lambda at: at.isoformat()),
        moments.map(lambda at: at.isoformat()),
        moments.map(lambda at: at.date().isoformat()),
    )


def _within(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return strategy.map(lambda one: [one])


def _request(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries(
        {
            "status": st.sampled_from(
                ("active", "active", "active", "draft", "on-hold", "revoked", "completed")
            )
            | st.just("entered-in-error"),
            "intent": st.sampled_from(("order", "order", "proposal")),
            "subject": _of(*PATIENTS),
        },
        optional={
            "requester": _of(*STAFF, *PATIENTS),
            "performer": _within(_of(*STAFF)),
            "authoredOn": at,
            "priority": st.sampled_from(("routine", "urgent", "asap", "stat")),
            "code": _code("knee", "knee", "heart"),
            "basedOn": _within(_of(*REQUESTS)),
            "replaces": _within(_of(*REQUESTS)),
            "doNotPerform": st.sampled_from((False, False, True)),
            "category": st.sampled_from((LABORATORY, LABORATORY, REFERRAL)),
        },
    )


def _task(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    statuses = "requested received accepted in-progress on-hold completed rejected cancelled failed draft"
    output = st.sampled_from(RESULTS).map(
        lambda name: [{"type": {"text": "report"}, "valueReference": {"reference": name}}]
    )
    return st.fixed_dictionaries(
        {
            "status": st.sampled_from((*statuses.split(), "entered-in-error")),
            "intent": st.just("order"),
            "focus": _of(*REQUESTS, *REQUESTS, *RESULTS, *MESSAGES),
        },
        optional={
            "owner": _of(*STAFF),
            "requester": _of(*STAFF),
            "authoredOn": at,
            "lastModified": at,
            "code": st.sampled_from(("fulfill", "abort")).map(
                lambda code: {
                    "coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": code}]
                }
            ),
            "basedOn": _within(_of(*REQUESTS)),
            "partOf": _within(_of(*TASKS)),
            "output": output,
            "restriction": at.map(lambda end: {"period": {"end": end}}),
        },
    )


def _appointment(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    statuses = ("booked", "booked", "booked", "proposed", "waitlist", "cancelled", "noshow", "fulfilled")
    return st.fixed_dictionaries(
        {"status": st.sampled_from(statuses), "basedOn": _within(_of(*REQUESTS))},
        optional={
            "created": at,
            "start": at,
            "participant": _of(*STAFF).map(lambda actor: [{"actor": actor, "status": "accepted"}]),
        },
    )


def _encounter(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries(
        {"status": st.sampled_from(("planned", "arrived", "in-progress", "finished", "cancelled"))},
        optional={
            "basedOn": _within(_of(*REQUESTS)),
            "appointment": _within(_of(*APPOINTMENTS)),
            "period": st.tuples(at, at).map(lambda both: {"start": both[0], "end": both[1]}),
            "serviceProvider": _of(*STAFF),
        },
    )


def _report(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries(
        {"status": st.sampled_from(("preliminary", "final", "amended", "entered-in-error"))},
        optional={
            # A text is no reference: then it may be the result of any order of its patient.
            "basedOn": _within(_of(*REQUESTS)) | st.just("a text"),
            "subject": _of(*PATIENTS),
            "issued": at,
            "performer": _within(_of(*STAFF)),
        },
    )


def _document(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    context = st.one_of(
        _of(*REQUESTS, *TASKS, *APPOINTMENTS).map(lambda one: {"related": [one]}),
        _of(*ENCOUNTERS).map(lambda one: {"encounter": [one]}),
    )
    return st.fixed_dictionaries(
        {"status": st.just("current"), "docStatus": st.sampled_from(("preliminary", "final"))},
        optional={"date": at, "author": _within(_of(*STAFF)), "context": context},
    )


def _message(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    anything = _of(*REQUESTS, *TASKS, *APPOINTMENTS, *ENCOUNTERS, *RESULTS, *MESSAGES)
    return st.fixed_dictionaries(
        {
            "status": st.sampled_from(
                ("completed", "completed", "preparation", "not-done", "entered-in-error")
            )
        },
        optional={
            "subject": _of(*PATIENTS),
            "sent": at,
            "about": _within(anything),
            "basedOn": _within(_of(*REQUESTS)),
            "sender": _of(*PATIENTS, *STAFF),
            "recipient": _within(_of(*PATIENTS, "RelatedPerson/r1", *STAFF)),
            "category": _code("referral-request").map(lambda one: [one]),
        },
    )


def _role(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries({}, optional={"organization": _of(*STAFF[2:])})


def _wish(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries(
        {"status": st.sampled_from(("active", "revoked")), "subject": _of(*PATIENTS)},
        optional={"doNotPerform": st.booleans(), "basedOn": _within(_of(*REQUESTS))},
    )


def _relative(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries({"patient": _of(*PATIENTS)}, optional={"active": st.booleans()})


def _patient(id: str, at: st.SearchStrategy[str]) -> st.SearchStrategy[Resource]:
    return st.fixed_dictionaries(
        {},
        optional={
            "birthDate": st.sampled_from(("2015-04-01", "1950-04-01")),
            "deceasedDateTime": at,
            "telecom": st.just([{"system": "phone", "value": "1"}]),
        },
    )


_MAKERS = {
    "ServiceRequest": _request,
    "Task": _task,
    "Appointment": _appointment,
    "Encounter": _encounter,
    "DiagnosticReport": _report,
    "DocumentReference": _document,
    "Communication": _message,
    "PractitionerRole": _role,
    "CommunicationRequest": _wish,
    "RelatedPerson": _relative,
    "Patient": _patient,
}


def resource_named(name: str, now: datetime) -> st.SearchStrategy[Resource]:
    type, _, id = name.partition("/")
    return _MAKERS[type](id, _times(now)).map(lambda body: {"resourceType": type, "id": id, **body})


def resources(now: datetime) -> st.SearchStrategy[Resource]:
    """Any of EVERYTHING, new or as something else than it was."""
    names = st.one_of(st.sampled_from(REQUESTS), st.sampled_from(TASKS), st.sampled_from(EVERYTHING))
    return names.flatmap(lambda name: resource_named(name, now))


def requests_that_turn_out_to_be_none(now: datetime) -> st.SearchStrategy[tuple[Resource, Resource | None]]:
    """What a patient has asked for so long ago that it is late, and what it is afterwards: no such request.

    None: it is deleted.
    """
    return st.sampled_from(MESSAGES + REQUESTS).flatmap(lambda name: _turning(name, now))


def _turning(name: str, now: datetime) -> st.SearchStrategy[tuple[Resource, Resource | None]]:
    type, _, id = name.partition("/")
    asker = _of("Patient/p3", *PATIENTS)
    sent = st.integers(500, 2000).map(lambda hours: (now - timedelta(hours=hours)).isoformat())
    common = {"resourceType": st.just(type), "id": st.just(id), "subject": asker}
    later = (now + timedelta(days=400)).isoformat()
    if type == "Communication":
        asked = st.fixed_dictionaries(
            common
            | {
                "status": st.just("completed"),
                "sender": asker,
                "sent": sent,
                "category": _within(_code("referral-request")),
            },
            optional={"recipient": _within(_of(*STAFF))},
        )
        turns: tuple[Resource | None, ...] = (
            {"category": None},
            {"category": [{"text": "referral-request"}]},
            {"sender": None},
            {"sender": {"reference": "PractitionerRole/gp"}},
            {"status": "entered-in-error"},
            {"status": "not-done"},
            {"sent": later},
            None,
        )
    else:
        asked = st.fixed_dictionaries(
            common
            | {
                "status": st.just("active"),
                "intent": st.just("proposal"),
                "requester": asker,
                "authoredOn": sent,
            },
            optional={"performer": _within(_of(*STAFF))},
        )
        turns = (
            {"status": "entered-in-error"},
            {"doNotPerform": True},
            {"authoredOn": later},
            {"category": LABORATORY, "requester": None, "intent": "order"},
            {"category": LABORATORY, "requester": {"reference": "PractitionerRole/gp"}},
            {"requester": {"reference": "PractitionerRole/gp"}},
            {"intent": "order"},
            None,
        )
    return st.tuples(asked, st.sampled_from(turns)).map(lambda both: (both[0], _changed(*both)))


def _changed(was: Resource, turn: Resource | None) -> Resource | None:
    if turn is None:
        return None
    return {key: value for key, value in (was | turn).items() if value is not None}

"""Simulates one patient's life with referrals, from the first request to the last closing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from fhir_coprod.simulate import rates
from fhir_coprod.simulate.answers import Ending
from fhir_coprod.simulate.hospital import BY_NAME, CENTRES, DEPARTMENTS, Department, patient
from fhir_coprod.simulate.noise import Version
from fhir_coprod.simulate.promises import office, too_late
from fhir_coprod.simulate.records import asked, ours, text_of
from fhir_coprod.simulate.thread import Thread
from fhir_coprod.simulate.truth import STORY, Happening, Stall, untold

Json = dict[str, Any]


@dataclass
class Life:
    """Everything recorded about one patient up to the end of the simulation, and the truth about it."""

    patient: str
    referrals: list[str] = field(default_factory=list)
    """References; a patient's own request counts as one."""
    versions: list[Version] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    born: date = date(1970, 1, 1)
    stops: Mapping[str, datetime] = field(default_factory=dict)
    """When departments stop answering, by name."""


def live(
    number: int, seed: int, begin: datetime, end: datetime, stops: Mapping[str, datetime] | None = None
) -> Life:
    """The life of patient `number`. The same arguments give the same life, whatever else is simulated.

    stops: departments that answer no referral any more, each with the time from which on.
    """
    chance = Random(f"{seed}/life/{number}")
    id = f"p{number}"
    life = Life(f"Patient/{id}", stops=stops or {})
    centre = chance.choice(CENTRES)
    start = begin + (end - begin) * chance.random()
    start = office(start, begin)
    common = [patient(id, chance)]
    life.born = date.fromisoformat(common[0]["birthDate"])
    recipient = f"RelatedPerson/{id}-relative" if chance.random() < rates.PROXY else life.patient
    if recipient != life.patient:
        common.append(_relative(id, life.patient))
    silent = chance.random() < rates.SILENT
    if silent:
        common.append(_silence(id, life.patient, start))
    life.versions += [Version(start, centre.name, "", data) for data in common]
    free = list(DEPARTMENTS)
    chance.shuffle(free)

    ways = [(centre, start)]
    if chance.random() < rates.SECOND:
        ways.append((centre, office(start + timedelta(days=chance.uniform(1, 60)), start)))
    for by, at in ways:
        to = free.pop()
        asking = ""
        if chance.random() < rates.ASKED_FOR:
            asking, written = _ask(life, id, by, to, at, chance, recipient, silent=silent)
            if written is None:
                continue
            at = written
        referral = _refer(life, id, by, to, at, chance, free, based_on=asking)
        if chance.random() < rates.DUPLICATED:
            _twin(life, id, referral, chance)
    for thread in life.threads:
        thread.inform(recipient, silent, BY_NAME)
    _die(life, common[0], centre, chance)
    for thread in life.threads:
        life.versions += thread.records.versions
        life.stalls += thread.stalls
    life.versions = [version for version in life.versions if version.at <= end]
    life.stalls = [stall for stall in life.stalls if stall.stalled <= end]
    written_by = {version.referral for version in life.versions}
    life.referrals = [name for name in life.referrals if name.partition("/")[2] in written_by]
    return life


def _die(life: Life, patient: Json, centre: Department, chance: Random) -> None:
    """Some patients die on the way, after all their referrals were written."""
    if chance.random() >= rates.DECEASED or len(life.threads) != len(life.referrals) or not life.threads:
        return
    last = max(thread.authored for thread in life.threads)
    died = office(last + timedelta(days=chance.uniform(2, 60)), last)
    life.versions.append(Version(died, centre.name, "", {**patient, "deceasedDateTime": text_of(died)}))
    for thread in life.threads:
        thread.die(died)


def lives(patients: int, seed: int, begin: datetime, end: datetime) -> Iterator[Life]:
    """The lives of that many patients, one after the other."""
    for number in range(patients):
        yield live(number, seed, begin, end)


def _relative(id: str, patient: str) -> Json:
    return {
        "resourceType": "RelatedPerson",
        "id": f"{id}-relative",
        "active": True,
        "patient": {"reference": patient},
        "relationship": [{"text": "daughter"}],
    }


def _silence(id: str, patient: str, at: datetime) -> Json:
    return {
        "resourceType": "CommunicationRequest",
        "id": f"{id}-silence",
        "status": "active",
        "doNotPerform": True,
        "subject": {"reference": patient},
        "authoredOn": text_of(at),
    }


def _ask(
    life: Life,
    id: str,
    by: Department,
    to: Department,
    at: datetime,
    chance: Random,
    recipient: str,
    *,
    silent: bool,
) -> tuple[str, datetime | None]:
    """The patient asks for a referral; returns the request, and when somebody writes the referral."""
    own = f"{id}-ask{len(life.referrals) + 1}"
    by_message = chance.random() < 1 / 3
    reference = f"{'Communication' if by_message else 'ServiceRequest'}/{own}"
    life.referrals.append(reference)
    if by_message:
        data: Json = {
            "resourceType": "Communication",
            "id": own,
            "status": "completed",
            "category": [ours("communication-topic", "referral-request")],
            "subject": {"reference": life.patient},
            "sender": {"reference": life.patient},
            "recipient": [{"reference": by.organization}],
            "sent": text_of(at),
            "payload": [{"contentString": "I would like to be referred."}],
        }
    else:
        data = {
            "resourceType": "ServiceRequest",
            "id": own,
            "status": "active",
            "intent": "proposal",
            "code": asked(to),
            "subject": {"reference": life.patient},
            "requester": {"reference": life.patient},
            "performer": [{"reference": by.organization}],
            "authoredOn": text_of(at),
        }
    life.versions.append(Version(at, by.name, own, data))
    scratch = Thread(own, life.patient, by, to, at, chance)
    scratch.priority = "routine"
    written = scratch.step("request-unanswered", at, rates.FORGOTTEN["request-unanswered"])
    kind = "request-unanswered"
    due = too_late(kind, at)
    if written is None or written > due:
        life.stalls.append(Stall(reference, kind, at, due, written, by.organization, "", STORY[kind]))
        late = Happening(due, by.name, written, late=True)
        told: list[datetime] = []
        if not silent and chance.random() < rates.TOLD_OF_DELAY:
            word = office(due + timedelta(days=chance.uniform(0.02, 2)), due)
            if written is None or word < written:
                told.append(word)
                scratch.records.message(word, by, recipient, [reference], "delay", "You will get an answer.")
                life.versions += scratch.records.versions
        life.stalls += untold(reference, [late], told, "routine")
    if written is not None and not by_message:
        life.versions.append(
            Version(written + timedelta(minutes=1), by.name, own, {**data, "status": "completed"})
        )
    return reference, written


def _refer(
    life: Life,
    id: str,
    by: Department,
    to: Department,
    at: datetime,
    chance: Random,
    free: list[Department],
    based_on: str = "",
) -> Thread:
    """A referral and everything that follows from it."""
    thread = _thread(life, id, by, to, at, chance)
    active = thread.write(at, **_link(based_on))
    if active is None:
        return thread
    sent = thread.send(active)
    if sent is None:
        thread.attempt = "none"
        return thread
    if chance.random() < rates.TWO_AT_ONCE and free:
        thread.steadfast = True
        parts = [(one, thread.course(one, sent, 0.0, first=one is to)) for one in (to, free.pop())]
        thread.close(parts)
        return thread
    department, part = _until_somebody_takes_it(thread, to, sent, free)
    if part is None or part.answered is None:
        return thread
    thread.close([(department, part)])
    if free and chance.random() < rates.SENT_ON:
        onward = office(part.answered + timedelta(days=1), part.answered)
        _refer(life, id, department, free.pop(), onward, chance, free, based_on=thread.reference)
    return thread


def _link(based_on: str) -> Json:
    if not based_on:
        return {}
    # R4 lets a ServiceRequest be based on another one, not on a message.
    element = "basedOn" if based_on.startswith("ServiceRequest/") else "supportingInfo"
    return {element: [{"reference": based_on}]}


def _thread(life: Life, id: str, by: Department, to: Department, at: datetime, chance: Random) -> Thread:
    thread = Thread(f"{id}-r{len(life.referrals) + 1}", life.patient, by, to, at, chance)
    thread.born = life.born
    thread.stop(life.stops)
    life.threads.append(thread)
    life.referrals.append(thread.reference)
    return thread


def _until_somebody_takes_it(
    thread: Thread, to: Department, sent: datetime, free: list[Department]
) -> tuple[Department, Ending | None]:
    """Ask departments, each after the last sent it back, until one takes it or it is given up."""
    chance = thread.chance
    first = thread.course(to, sent, rates.RETURNED / (1 - rates.INACTION / 3), first=True)
    if first.outcome != "returned":
        return to, first
    second_to, second_sent = _after_return(thread, to, first, free)
    if second_sent is None:
        return to, None
    second = thread.course(second_to, second_sent, rates.RETURNED_AGAIN)
    if second.outcome != "returned":
        return second_to, second
    third_to, third_sent = _after_return(thread, second_to, second, [to] if chance.random() < 0.5 else free)
    if third_sent is None:
        thread.owed("bounced", second.at, thread.ended, thread.by, due=second.at)
        return second_to, None
    number = len(thread.happened)
    third = thread.course(third_to, third_sent, 0.0)
    taken = thread.happened[number].at if len(thread.happened) > number else None
    accepted = taken if third.outcome != "stuck" or _was_accepted(thread, third.task) else None
    thread.owed("bounced", second.at, accepted, thread.by, due=second.at)
    return third_to, third


def _was_accepted(thread: Thread, task: str) -> bool:
    id = task.partition("/")[2]
    return any(
        version.data["id"] == id and version.data.get("status") == "accepted"
        for version in thread.records.versions
    )


def _after_return(
    thread: Thread, department: Department, part: Ending, free: list[Department]
) -> tuple[Department, datetime | None]:
    """What the requester does when a department has sent the referral back."""
    kind = "rejected-not-rerouted"
    done = thread.step(kind, part.at, rates.RETURNED_AND_FORGOTTEN)
    thread.owed(kind, part.at, done, thread.by, part.task)
    if done is None:
        return department, None
    choices = dict(rates.AFTER_RETURN)
    if not free:
        del choices["elsewhere"]
    way = thread.chance.choices(list(choices), list(choices.values()))[0]
    if way == "given up":
        thread.revoke(done, [])
        return department, None
    return (free.pop() if way == "elsewhere" else department), done


def _twin(life: Life, id: str, older: Thread, chance: Random) -> None:
    """Another doctor asks for the same thing, not knowing of the first referral, until somebody notices."""
    at = office(older.authored + timedelta(days=chance.uniform(1, 25)), older.authored)
    other = chance.choice([centre for centre in CENTRES if centre is not older.by])
    if older.by not in CENTRES or (older.ended is not None and older.ended <= at):
        return
    younger = _thread(life, id, other, older.to, at, chance)
    younger.records.referral(at, other, older.to, younger.priority, "active")
    sent = at + timedelta(minutes=10)
    task = younger.records.task(sent, other, older.to, older.to, younger.priority)
    taken = younger.step("unacknowledged", sent, 0.0) or sent
    noticed = office(max(at, taken) + timedelta(days=chance.expovariate(1 / rates.FOUND_DAYS)), taken)
    younger.owed("unacknowledged", sent, taken, older.to, task)
    if not younger.is_gone(older.to, taken):
        younger.records.move(task, taken, status="accepted")
        younger.tell_of(taken, older.to)
        younger.owed("unscheduled", taken, noticed, older.to, task)
    until = min(noticed, older.ended) if older.ended is not None else noticed
    younger.owed("duplicate", at, until, other, due=at)
    younger.revoke(noticed, [(older.to, task)])

"""The page of a patient: their own referrals, what happens next and why, who has it, and what they were told.

Letters are shown as they were released by a person, never as drafts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from fhir_coprod.access import glass
from fhir_coprod.access.sight import barring
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.record.fhir import moment
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import STAFF_ONLY, Stage
from fhir_coprod.watch.rules.standing import Standing
from fhir_coprod.watch.worklist.release import letters_sent
from fhir_coprod.web.board import Case, compose
from fhir_coprod.web.letters import environment
from fhir_coprod.web.survey import shown
from fhir_coprod.web.visitor import Visitor

MOST: Final = 100
"""Referrals of each kind on the page, the newest first."""

_STANDS: Final = {
    Stage.ASKED: "You have asked for it, and nobody has written a referral yet.",
    Stage.WRITTEN: "It is written, and has not been sent yet.",
    Stage.SENT: "It was sent to {receiver}, and nobody has said yet that it arrived.",
    Stage.RECEIVED: "{receiver} has received it, and has not decided yet whether to see you.",
    Stage.ACCEPTED: "{receiver} has accepted it: you will be seen, and no time is set yet.",
    Stage.SCHEDULED: "A visit is booked at {receiver}.",
    Stage.SEEN: "You have been there, and the final report is not written yet.",
    Stage.RESULTED: "The result is there, and is on its way to {sender}, who asked for it.",
    Stage.RETURNED: "{sender} has the result, and has to look at it.",
}
_NEXT: Final = {
    Stage.ASKED: "Somebody writes a referral, or tells you why not.",
    Stage.WRITTEN: "{sender} sends it.",
    Stage.SENT: "{receiver} says that it has arrived.",
    Stage.RECEIVED: "{receiver} decides, and tells you.",
    Stage.ACCEPTED: "{receiver} books a time, and tells you when.",
    Stage.SCHEDULED: "You go there at the time of your visit.",
    Stage.SEEN: "{receiver} writes the report.",
    Stage.RESULTED: "{receiver} sends the report to {sender}.",
    Stage.RETURNED: "{sender} reads it, and tells you what follows from it.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """A letter that went out to the patient: when, and its words."""

    at: datetime
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Own:
    """One referral in words for its patient."""

    case: Case
    stands: str
    next: str
    late: tuple[str, ...]
    """What is missing, if it takes longer than it should."""
    has_it: str
    told: tuple[Told, ...]


def page(store: Store, settings: Settings, visitor: Visitor, now: datetime) -> str:
    """The page of the patient who is signed in."""
    policy = policies.load(settings.watch.policy, settings.site)
    names = list(_asked_for(store, visitor.rights.patient))
    in_sight = visitor.sees(store, names)
    names = [name for name in names if name in in_sight]
    standings = [look_at(store, name, policy, now, settings, barring(visitor.rights)) for name in names]
    standings = [each for each in standings if each.stage is not None and each.scope != "out"]
    seen = shown(store, visitor, standings)
    going = [each for each in seen if each.is_open]
    board = compose(store, settings, going, now=now)
    cases = (*board.stalled, *board.partly, *board.moving, *board.unclear)
    by_name = {each.referral: each for each in going}
    own = [_own(store, visitor, case, by_name[case.referral], settings.site.zone) for case in cases]
    return (
        environment()
        .get_template("mine.html")
        .render(
            visitor=visitor,
            broken=_broken(store, visitor, settings.site.zone),
            own=own,
            over=len(seen) - len(going),
            now=board.now,
            zone=board.zone,
        )
    )


def _broken(store: Store, visitor: Visitor, zone: ZoneInfo) -> list[tuple[datetime, str]]:
    """When the glass was broken for the patient, and why; for nobody who speaks for them."""
    if visitor.rights.kind != "patient":
        return []
    with store.connect() as connection:
        found = glass.of_patient(connection, visitor.rights.patient)
    return [(at.astimezone(zone), reason) for at, reason in found]


def _asked_for(store: Store, patient: str) -> Iterator[str]:
    """The referrals of a patient, and the messages by which they asked for one."""
    for type in ("ServiceRequest", "Communication"):
        pairs = [("subject", f"Patient/{patient}"), ("_sort", "-_lastUpdated"), ("_count", str(MOST))]
        for version in store.search(Query.parse(type, pairs)).matches:
            if type == "ServiceRequest" or _asks(version.data):
                yield f"{type}/{version.id}"


def _asks(message: dict[str, object]) -> bool:
    """Whether a message is from the patient themselves: only those can ask for a referral."""
    sender, subject = message.get("sender"), message.get("subject")
    return (
        isinstance(sender, dict)
        and isinstance(subject, dict)
        and sender.get("reference") == subject.get("reference")
    )


def _own(store: Store, visitor: Visitor, case: Case, standing: Standing, zone: ZoneInfo) -> Own:
    stage = standing.stage or Stage.WRITTEN
    names = {"sender": case.sender, "receiver": case.receiver}
    if case.receiver == "nobody yet":
        names["receiver"] = "the department"
    stands, then = (words.get(stage, "").format(**names) for words in (_STANDS, _NEXT))
    return Own(
        case,
        _sentence(stands),
        _sentence(then),
        tuple(dict.fromkeys(stall.missing for stall in standing.stalls if stall.rule not in STAFF_ONLY)),
        ", ".join(case.owners) or case.receiver,
        tuple(_told(store, visitor, case.referral, zone)),
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _told(store: Store, visitor: Visitor, referral: str, zone: ZoneInfo) -> Iterator[Told]:
    """The letters that went out about a referral, as far as they are not kept from the patient."""
    letters = letters_sent(store, referral)
    seen = visitor.sees(store, {f"Communication/{sent.data['id']}" for sent in letters})
    for sent in letters:
        if f"Communication/{sent.data['id']}" not in seen:
            continue
        parts = [part.get("contentString", "") for part in sent.data.get("payload") or ()]
        at = moment(sent.data.get("sent"), zone) or sent.at
        yield Told(at.astimezone(zone), tuple(line for part in parts for line in str(part).split("\n\n")))

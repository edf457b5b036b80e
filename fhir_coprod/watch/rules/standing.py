"""The standing of a referral: what the watch says about it at one time, in fields, JSON and words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from fhir_coprod.instants import instant
from fhir_coprod.watch.rules.codes import ABOUT, NEXT_STEP, NO_VISIT, RANK, Rule, Stage
from fhir_coprod.watch.rules.policies import Severity


class Stall(msgspec.Struct, frozen=True, gc=False):
    """Something that should have happened by now but has not."""

    rule: Rule
    since: datetime
    """When the wait began."""
    due: datetime
    """When it should have ended; it is a stall from that moment on."""
    owner: str = ""
    """Who can move it; "" if nobody is named."""
    task: str = ""
    """The Task it is about; "" if it is about the referral as a whole."""
    severity: Severity = "moderate"
    since_stored: bool = False
    """`since` is only when we first stored the event, which may be older."""
    evidence: str = ""
    """The resource that shows it, beside the referral and the Task; "" if there is no other."""

    @property
    def missing(self) -> str:
        """What is missing, in words."""
        return ABOUT[self.rule].missing

    @property
    def instead(self) -> str:
        """What is the case instead, in words with a place for the day; a visit only where there was one."""
        if self.rule is Rule.RESULTS_MISSING and not self.evidence.startswith(("Encounter/", "Appointment/")):
            return NO_VISIT
        return ABOUT[self.rule].since


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The stage of a referral, since when, what would move it on, by when that is due, and what is wrong."""

    referral: str
    patient: str
    stage: Stage | None
    """None: there was no referral at that time (not written yet, entered in error, or doNotPerform)."""
    since: datetime | None = None
    """When this stage began."""
    since_stored: bool = False
    due: datetime | None = None
    """When the next step is due; None if nothing that we can see is awaited."""
    owner: str = ""
    """Who has it now."""
    stalls: tuple[Stall, ...] = ()
    notes: tuple[Stall, ...] = ()
    """Soft notes to an author, never alerts."""
    not_observable: tuple[str, ...] = ()
    """Resource types that matter now but cannot be seen: no stall is claimed because they are absent."""
    patient_informed: bool = False
    """The patient has been told about everything that happened."""
    last_informed: datetime | None = None
    untold_since: datetime | None = None
    """The time of the earliest event that the patient has not been told about."""
    untold: str = ""
    """What that event was."""
    do_not_contact: bool = False
    refused: datetime | None = None
    """When a message was last not sent because the patient objected to that one."""
    deceased: datetime | None = None
    unknown: tuple[str, ...] = ()
    """States that nobody knows: statuses that R4 does not have, codes that no file of words translates."""
    guarantee: datetime | None = None
    """The date promised to the patient; None once the promise has been kept."""
    guarantee_name: str = ""
    priority: str = "routine"
    policy: str = ""
    wake: datetime | None = None
    """The next time at which anything here may change by itself. There is no need to look again before that,
    unless a fact arrives. None: time alone changes nothing any more."""
    zone: str = "UTC"
    not_claimed: tuple[Rule, ...] = ()
    """Rules that cannot be checked at present, because `not_observable` types are missing."""
    scope: str = "referral"
    """referral, diagnostic, out or unclear (`scope.Scope`); "" if there is no order at this time."""
    in_scope: str = ""
    """Why it is in that scope, in words that can follow "because"."""
    thing: str = ""
    """What is asked for: the first code, or the text."""
    written: datetime | None = None
    """When it was written."""
    department: str = ""
    """The department that was asked."""
    steps: tuple[str, ...] = ()
    """What it tells of the steps that are in use there (`steps.shown`)."""
    counted: tuple[Stall, ...] = ()
    """What is wrong but raises no alert of its own: it is counted, and listed apart."""
    not_assessed: str = ""
    """The kind of fault in the program because of which it could not be assessed (then there is no stage), or
    its alerts could not be settled."""

    @property
    def is_open(self) -> bool:
        """Whether it is a referral, or may be one, and is not closed."""
        going = self.stage is not None and self.stage is not Stage.CLOSED
        return going and self.scope in ("referral", "unclear")

    @property
    def is_unclear(self) -> bool:
        """Whether it may be a referral, and is listed apart."""
        return self.scope == "unclear"

    @property
    def is_stalled(self) -> bool:
        return bool(self.stalls)

    @property
    def is_telling_unseen(self) -> bool:
        """Whether nobody can say if the patient has been told: word may have gone where we cannot look."""
        return not self.patient_informed and Rule.PATIENT_NOT_INFORMED in self.not_claimed

    @property
    def next_step(self) -> str:
        """What would move it on."""
        return NEXT_STEP[self.stage] if self.stage else ""

    def local_day(self, at: datetime) -> str:
        """The local date of an instant at the site, as people write it: 2 March 2026."""
        return spoken(at.astimezone(ZoneInfo(self.zone)).date())

    @property
    def explanation(self) -> str:
        """One sentence that a person can check, with the site's local dates; see `explain`."""
        return explain(self)

    def to_json(self, names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The standing as `fhir-coprod watch --json` prints it; `names` as in `explain`."""
        return {
            "referral": self.referral,
            "patient": self.patient,
            "stage": self.stage,
            "since": instant(self.since),
            "due": instant(self.due),
            "stalls": [
                {
                    "rule": stall.rule,
                    "since": instant(stall.since),
                    "due": instant(stall.due),
                    "owner": stall.owner or None,
                    "task": stall.task or None,
                    "severity": stall.severity,
                }
                for stall in self.stalls
            ],
            "notes": [
                {
                    "rule": note.rule,
                    "since": instant(note.since),
                    "due": instant(note.due),
                    "owner": note.owner or None,
                }
                for note in self.notes
            ],
            "scope": self.scope,
            "in_scope": self.in_scope,
            "counted": [
                {"rule": each.rule, "since": instant(each.since), "due": instant(each.due)}
                for each in self.counted
            ],
            "not_observable": list(self.not_observable),
            "patient_informed": self.patient_informed,
            "guarantee": instant(self.guarantee),
            "deceased": instant(self.deceased),
            "unknown_states": list(self.unknown),
            "explanation": explain(self, names),
        }


_BEGAN = {
    Stage.ASKED: "asked for by the patient on {date}",
    Stage.WRITTEN: "written on {date}",
    Stage.SENT: "sent on {date}{to}",
    Stage.RECEIVED: "received on {date}{by}",
    Stage.ACCEPTED: "accepted on {date}{by}",
    Stage.SCHEDULED: "booked on {date}{by}",
    Stage.SEEN: "seen on {date}{by}",
    Stage.RESULTED: "result final on {date}{by}",
    Stage.RETURNED: "result sent to the requester on {date}",
    Stage.CLOSED: "closed on {date}",
}


_ORDERED = {
    Rule.RESULTS_MISSING: "no final result since it was ordered on {since}",
    Rule.NOT_REVIEWED: "the result of {since} is not reviewed",
}
_SCOPED = {
    "diagnostic": "a diagnostic order, of which only result and review are counted",
    "unclear": "it may be a referral or not",
}


def explain(standing: Standing, names: Mapping[str, str] | None = None) -> str:
    """The standing in words.

    names: display names of departments by reference; a department without one is shown by its reference.
    """
    if standing.scope == "out":
        return f"Not watched, because {standing.in_scope}."
    if standing.stage is None or standing.since is None:
        return "There is no referral at this time."
    say = standing.local_day
    owner = (names or {}).get(standing.owner, standing.owner)
    began = _BEGAN[standing.stage].format(
        date=say(standing.since), by=f" by {owner}" if owner else "", to=f" to {owner}" if owner else ""
    )
    parts = [began + (" (first stored then; it may be older)" if standing.since_stored else "")]
    if standing.scope != "referral":
        parts.append(f"{_SCOPED[standing.scope]}, because {standing.in_scope}")
    for stall in (*standing.stalls, *standing.notes, *standing.counted):
        about = _ORDERED if standing.scope == "diagnostic" else {}
        words = about.get(stall.rule, stall.instead).format(since=say(stall.since))
        parts.append(f"{words} (first stored then)" if stall.since_stored else words)
        if stall.due > stall.since:
            parts[-1] += f", due {say(just_before(stall.due))}"
    if standing.due is not None and standing.due not in {stall.due for stall in standing.stalls}:
        parts.append(f"next, {standing.next_step}: due {say(just_before(standing.due))}")
    if standing.not_observable:
        parts.append(f"cannot be watched further: {', '.join(standing.not_observable)} not visible here")
    if standing.unknown:
        parts.append(f"unknown state: {', '.join(standing.unknown)}")
    if standing.guarantee is not None:
        parts.append(f"guarantee date {say(just_before(standing.guarantee))} ({standing.guarantee_name})")
    if standing.last_informed is not None:
        parts.append(f"the patient was last told on {say(standing.last_informed)}")
    elif standing.is_telling_unseen:
        parts.append("whether the patient has been told anything cannot be seen")
    else:
        parts.append("the patient has not been told anything")
    if standing.do_not_contact:
        parts.append("the patient asked not to be contacted")
    elif standing.refused is not None:
        parts.append(f"the patient objected to a message on {say(standing.refused)}")
    return "; ".join(parts)


def just_before(due: datetime) -> datetime:
    """A due time as the date to tell people: midnight means the end of the day before."""
    return due - timedelta(microseconds=1)


def spoken(day: date) -> str:
    """A date as people write it: 2 March 2026."""
    return f"{day.day} {day:%B %Y}"


def spoken_end(end: datetime, zone: ZoneInfo) -> str:
    """An end as people at the site write it: 2 March 2026 for the end of that day, else with the time."""
    local = just_before(end).astimezone(zone)
    return spoken(local.date()) if local.time() >= _LAST_SECOND else spoken_time(end, zone)


_LAST_SECOND = time(23, 59, 58)


def spoken_time(at: datetime, zone: ZoneInfo) -> str:
    """The local time at the site as people write it: 2 March 2026, 09:14."""
    local = at.astimezone(zone)
    return f"{spoken(local.date())}, {local:%H:%M}"


def urgency(standing: Standing) -> tuple[Any, ...]:
    """A sort key that puts the most urgent first."""
    levels = {"high": 0, "moderate": 1, "low": 2}
    worst = min((levels[stall.severity] for stall in standing.stalls), default=3)
    order = {"stat": 0, "asap": 1, "urgent": 2}
    earliest = min((stall.due for stall in standing.stalls), default=standing.due)
    return (
        worst,
        order.get(standing.priority, 3),
        earliest is None,
        earliest or 0,
        -RANK[standing.stage] if standing.stage else 0,
        standing.referral,
    )

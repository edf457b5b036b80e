"""Lists what the watch cannot see, with how many referrals wait for it and for how long.

Silence is not safety, so people must be told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import observed
from fhir_coprod.watch.facts.habits import Habit, habits, settles
from fhir_coprod.watch.facts.visibility import (
    NOT_GIVEN,
    NOT_READABLE,
    NOT_TAKEN_IN,
    REFUSED,
    blind_feeds,
    by_reason,
    unread_records,
)
from fhir_coprod.watch.rules.codes import NEEDED
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing
from fhir_coprod.watch.rules.steps import Use


@dataclass(frozen=True, slots=True)
class Unseen:
    """Resource types that cannot be seen at one EHR, and how many referrals wait for one of them."""

    ehr: str
    """"" if no EHR can be named."""
    reasons: tuple[tuple[str, str], ...]
    """Each type, and why it cannot be seen."""
    referrals: int
    oldest_days: int

    @property
    def sentence(self) -> str:
        what = by_reason(self.reasons)
        place = f"{self.ehr}: {what}" if self.ehr else what
        if not self.referrals:
            return f"{place}; no open referral waits for it now."
        waits = "1 open referral waits" if self.referrals == 1 else f"{self.referrals} open referrals wait"
        days = "1 day" if self.oldest_days == 1 else f"{self.oldest_days} days"
        return f"{place}; {waits} for what cannot be seen, the oldest in its stage for {days}."


@dataclass(frozen=True, slots=True)
class NotAssessed:
    """Referrals that could not be assessed because of a fault in the program."""

    faults: tuple[tuple[str, str], ...]
    """Each referral, and the kind of fault."""

    @property
    def sentence(self) -> str:
        noun = "1 referral" if len(self.faults) == 1 else f"{len(self.faults)} referrals"
        which = ", ".join(f"{referral}: {fault}" for referral, fault in self.faults[:_NAMED])
        more = ", …" if len(self.faults) > _NAMED else ""
        return (
            f"{noun} could not be assessed, a fault in the program itself; please report it ({which}{more})."
        )


@dataclass(frozen=True, slots=True)
class Unreachable:
    """An EHR that could not be read just now; what it said before is still valid for a while."""

    ehr: str
    known: str
    """When it was last read, in local time at the site."""
    reason: str

    @property
    def sentence(self) -> str:
        reason = self.reason.rstrip(".")
        return f"anything new at {self.ehr} since {self.known}: the last sync failed ({reason})."


@dataclass(frozen=True, slots=True)
class Paused:
    """An EHR that a person has told us to leave alone; what it said before is still valid for a while."""

    ehr: str
    known: str
    """When it was last read, in local time at the site; "" if it never was."""
    words: str

    @property
    def sentence(self) -> str:
        since = f" since {self.known}" * bool(self.known)
        return f"anything new at {self.ehr}{since}: {self.words}."


@dataclass(frozen=True, slots=True)
class NotInUse:
    """A step that hardly any referral of an EHR shows, so that its absence raises no alerts."""

    habit: Habit

    @property
    def sentence(self) -> str:
        often = "never" if self.habit.use == Use.ABSENT else "only now and then"
        return (
            f"{self.habit.ehr}: {self.habit.sentence}. It seems to be recorded {often}; what is missing there"
            " is counted, and nobody is alerted. Say in the settings ([[watch.practice]]) how it is done."
        )


Limit = Unseen | NotAssessed | Unreachable | Paused | NotInUse


def what_cannot_be_watched(
    store: Store, policy: Policy, settings: Settings, standings: Iterable[Standing], now: datetime
) -> list[Limit]:
    """What could not be assessed, and then what cannot be seen at each EHR, even if no referral waits for it
    at present."""
    waiting: dict[str, dict[str, int]] = {}
    faults: list[tuple[str, str]] = []
    for standing in standings:
        if standing.not_assessed:
            faults.append((standing.referral, standing.not_assessed))
        for type in standing.not_observable:
            age = (now - standing.since).days if standing.since else 0
            waiting.setdefault(type, {})[standing.referral] = max(age, 0)
    reasons: dict[str, list[tuple[str, str]]] = {}
    with store.connect() as connection:
        for blind in blind_feeds(connection, settings, policy.pulled_since(now)):
            reasons.setdefault(blind.ehr, []).append((blind.type, _bare(blind.ehr, blind.reason)))
        learned = [
            NotInUse(found) for found in habits(connection) if found.use != Use.USED and not found.was_used
        ]
        late = observed.struggling(connection, policy.pulled_since(now))
        paused, known = observed.paused(connection, settings.site.zone), observed.known_until(connection)
        for (ehr, type, why), count in Counter(
            each
            for some in unread_records(connection).values()
            for each in {(b.ehr, b.type, b.reason) for b in some}
        ).items():
            many = {
                NOT_TAKEN_IN: f"the newest words on {count} records could not be taken in",
                NOT_GIVEN: f"the EHR did not give it for {count} patients",
                REFUSED: f"records of {count} patients could not be taken in; "
                "see `fhir-coprod dead-letters list`",
            }
            what = why if count == 1 else many[why]
            reasons.setdefault(ehr, []).append((type, what))
    unseen: list[Limit] = [NotAssessed(tuple(faults))] if faults else []
    unseen += [
        Unreachable(ehr, _local(at, settings), _bare(ehr, reason))
        for ehr, (at, reason) in sorted(late.items())
        if ehr not in paused
    ]
    unseen += [
        Paused(ehr, _local(known[ehr], settings) if ehr in known else "", words)
        for ehr, words in paused.items()
    ]
    named = {type for rows in reasons.values() for type, _ in rows}
    if nobody_s := sorted(waiting.keys() - named):
        marked = {type for _, type, _, _ in store.fault_counts()}
        reasons.setdefault("", []).extend((type, NOT_READABLE if type in marked else "") for type in nobody_s)
    for ehr, rows in sorted(reasons.items()):
        told = tuple(sorted((type, why) for type, why in rows if type in NEEDED or type in waiting))
        ages: dict[str, int] = {}
        for type, _ in told:
            ages |= waiting.get(type, {})
        if told:
            unseen.append(Unseen(ehr, told, len(ages), max(ages.values(), default=0)))
    return [*unseen, *(each for each in learned if not settles(settings.watch.practice, each.habit))]


def _local(at: datetime, settings: Settings) -> str:
    return at.astimezone(settings.site.zone).strftime("%Y-%m-%d %H:%M")


def _bare(ehr: str, reason: str) -> str:
    """The reason without the name of the EHR, which some reasons begin with."""
    return reason.removeprefix(f"{ehr}: ").removeprefix(f"ehr {ehr}: ")


_NAMED = 5

"""What cannot be watched: silence is not safety, so it is counted and said, with how many and how old."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.blind import NOT_TAKEN_IN, blind_feeds, struggling, unread_records
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.standing import Standing


@dataclass(frozen=True, slots=True)
class Unseen:
    """One resource type that matters now to some referrals and cannot be seen."""

    type: str
    referrals: int
    oldest_days: int
    reasons: tuple[str, ...]
    """Which EHR, and why."""

    @property
    def sentence(self) -> str:
        where = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        if not self.referrals:
            return f"{self.type}{where}; no open referral waits for it now."
        noun = "referral" if self.referrals == 1 else "referrals"
        age = f"the oldest in its stage for {self.oldest_days} days"
        return f"{self.type} of {self.referrals} {noun}, {age}{where}."


@dataclass(frozen=True, slots=True)
class NotAssessed:
    """Referrals of which a fault in the program keeps anything from being said."""

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
class Stale:
    """An EHR that could not be read just now; what it said before still holds, for a while."""

    ehr: str
    known: str
    """When it was last read, as a person of the site writes it."""
    reason: str

    @property
    def sentence(self) -> str:
        reason = self.reason.rstrip(".")
        return f"anything new at {self.ehr} since {self.known}: the last sync failed ({reason})."


Limit = Unseen | NotAssessed | Stale


def what_cannot_be_watched(
    store: Store, policy: Policy, settings: Settings, standings: Iterable[Standing], now: datetime
) -> list[Limit]:
    """What could not be assessed, then by resource type, also where no referral waits for it at present."""
    waiting: dict[str, list[int]] = {}
    faults: list[tuple[str, str]] = []
    for standing in standings:
        if standing.not_assessed:
            faults.append((standing.referral, standing.not_assessed))
        for type in standing.not_observable:
            age = (now - standing.since).days if standing.since else 0
            waiting.setdefault(type, []).append(max(age, 0))
    reasons: dict[str, list[str]] = {}
    with store.connect() as connection:
        for blind in blind_feeds(connection, settings, policy.pulled_since(now)):
            reasons.setdefault(blind.type, []).append(f"{blind.ehr}: {_bare(blind.ehr, blind.reason)}")
        late = struggling(connection, policy.pulled_since(now))
        for (ehr, type), count in Counter(
            (b.ehr, b.type) for b in unread_records(connection).values()
        ).items():
            what = (
                NOT_TAKEN_IN if count == 1 else f"the newest words on {count} records could not be taken in"
            )
            reasons.setdefault(type, []).append(f"{ehr}: {what}")
    unseen: list[Limit] = [NotAssessed(tuple(faults))] if faults else []
    unseen += [
        Stale(ehr, known.astimezone(settings.site.zone).strftime("%Y-%m-%d %H:%M"), _bare(ehr, reason))
        for ehr, (known, reason) in sorted(late.items())
    ]
    unseen += [
        Unseen(type, len(ages), max(ages, default=0), tuple(sorted(reasons.get(type, ()))))
        for type in sorted(waiting.keys() | (reasons.keys() & _WATCHED))
        for ages in (waiting.get(type, []),)
    ]
    return unseen


def _bare(ehr: str, reason: str) -> str:
    """Some reasons name the EHR already."""
    return reason.removeprefix(f"{ehr}: ").removeprefix(f"ehr {ehr}: ")


_NAMED = 5
_WATCHED = frozenset(
    {
        "ServiceRequest",
        "Task",
        "Appointment",
        "Encounter",
        "DiagnosticReport",
        "DocumentReference",
        "Communication",
    }
)

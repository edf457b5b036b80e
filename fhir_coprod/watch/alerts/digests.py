"""Makes the Tasks that list many things: a department's silent referrals, and shifts of scope. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.instants import from_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import gathered, resources
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import spoken

LISTED: Final = 10
"""How many referrals a list names; the board has the others."""
_LASTS: Final = Span(5, "wd")
_SHARE: Final = "share before"


def silence(
    department: str,
    count: int,
    oldest: Sequence[tuple[str, int]],
    was: Json | None,
    policy: Policy,
    now: datetime,
) -> Json:
    """The list of a department's referrals of which nothing is heard.

    count:  how many there are.
    oldest: the first of them, each with the time (in milliseconds) since when; the oldest first.
    was:    the present Task.
    """
    since = from_milliseconds(oldest[0][1]).astimezone(policy.calendar.zone).date()
    which = ", ".join(referral for referral, _ in oldest)
    noun = "referral has" if count == 1 else "referrals have"
    words = (
        f"Of {count} open {noun.split(maxsplit=1)[0]} nothing was recorded for too long, the longest since"
        f" {spoken(since)}: {which}{', …' if count > len(oldest) else ''}. Look at each, record what is"
        " going on, or note with fhir-coprod alerts looked-at that you have looked."
    )
    task = gathered.task(followup.SILENCE, department, words, was, policy.calendar.due(now, _LASTS), now)
    if resources.may_own(department):
        task["owner"] = resources.reference(department)
    return task


class Shift(NamedTuple):
    """A code of which far more orders than before are out of scope or unclear."""

    thing: str
    before: float
    """The share before, from 0 to 1."""
    now: float


def shifts_of(was: Json | None) -> Mapping[str, float]:
    """The codes that an open Task names, each with the share before."""
    if was is None or not resources.is_open(was):
        return {}
    found: dict[str, float] = {}
    for entry in was.get("input") or ():
        code, _, share = str(entry.get("valueString", "")).rpartition(" ")
        if (entry.get("type") or {}).get("text") == _SHARE and code:
            found[code] = float(share)
    return found


def shift(ehr: str, shifts: Sequence[Shift], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task about an EHR of whose orders fewer are watched than before; None if nothing is to be written.

    shifts: the codes for which that is so; empty if there is none any more.
    """
    if not shifts:
        return gathered.ended(was, now)
    if {each.thing for each in shifts} == shifts_of(was).keys():
        return None
    parts = "; ".join(f"{each.thing}: {each.before:.0%} before, {each.now:.0%} now" for each in shifts)
    place = f"the EHR {ehr}" if ehr else "records loaded here"
    words = (
        f"Far more orders of {place} than before are not watched as referrals: {parts}."
        " A change in a mapping or in how orders are written there may hide referrals. Look at the table"
        " [[scope]] of the policy, and at what the EHR sends."
    )
    end = policy.calendar.due(now, _LASTS)
    task = gathered.task(followup.SCOPE_SHIFT, ehr, words, was, end, now, urgent=True)
    task["input"] = [
        {"type": {"text": _SHARE}, "valueString": f"{each.thing} {each.before:.4f}"} for each in shifts
    ]
    return task


def fall(ehr: str, said: Sequence[str], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task that asks why an EHR records a step far less often than it did; None if none is to be written.

    said: a sentence for each department and step; empty if there is none any more.
    """
    if not said:
        return gathered.ended(was, now)
    if was is not None and resources.is_open(was):
        return None  # it asks already; figures that change every day would only make new versions
    words = (
        f"A step of referrals is recorded far less often than before at the EHR {ehr}: {'; '.join(said)}."
        " Alerts go on as before. If it is done in another way there now, say so in the settings"
        " ([[watch.practice]])."
    )
    end = policy.calendar.due(now, _LASTS)
    return gathered.task(followup.PRACTICE, ehr, words, was, end, now, urgent=True)

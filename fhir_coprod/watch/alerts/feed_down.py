"""Makes one alert for each EHR that is down, because its silence says nothing about its referrals.

A type that a server never shows raises no alert; the board lists it. Feeds that failed or fell behind raise
one Task per EHR, which runs out after a working day and comes back as long as a feed is down.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import gathered, resources
from fhir_coprod.watch.facts.visibility import by_reason
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.model import Blind
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy

_LASTS: Final = Span(1, "wd")


def alert(ehr: str, down: Iterable[Blind], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task about one EHR as it should be; None if nothing needs to be written.

    down: its feeds that failed or are behind; empty if all is well.
    was:  the present Task.
    """
    feeds = sorted(down, key=lambda feed: feed.type)
    if not feeds:
        return gathered.ended(was, now)
    words = _words(ehr, feeds)
    lasts = None if gathered.is_over(was, now) else was
    if lasts and _says(lasts, words):
        return None
    end = resources.act_by(lasts) if lasts else None
    return gathered.task(
        followup.FEED_DOWN, ehr, words, was, end or policy.calendar.due(now, _LASTS), now, urgent=True
    )


def _says(was: Json, words: str) -> bool:
    """Whether the Task already has these words, and the code by which people find it."""
    return was.get("description") == words and followup.is_kind(was, followup.FEED_DOWN)


def _words(ehr: str, feeds: Iterable[Blind]) -> str:
    """The words of the alert. They name no times: `authoredOn` says since when, and words that change with
    time would make new versions."""
    what = by_reason((feed.type, feed.reason) for feed in feeds)
    if not ehr:
        return f"Not everything can be read: {what}. No stall is claimed from what may be in it."
    return (
        f"The EHR {ehr} is not seen whole: {what}. No stall is claimed from what it should show, "
        "and no alert about it ends. Look with fhir-coprod ehr check."
    )

"""One alert for each EHR that is down: silence from there says nothing about its referrals.

A type that a server never shows is no fault of today: the board lists it. A feed that failed or fell behind
is one Task per EHR, which runs out after a working day and comes back while the feed is down.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts.visibility import by_reason
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.model import Blind
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy

_LASTS: Final = Span(1, "wd")


def alert(ehr: str, down: Iterable[Blind], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task that should be there about one EHR; None when nothing needs to be written.

    down: its feeds that failed or are behind; empty when it is well.
    was:  the Task that is there.
    """
    standing = was is not None and resources.is_open(was)
    feeds = sorted(down, key=lambda feed: feed.type)
    if not feeds:
        if was is None or not standing:
            return None
        return resources.touched({**was, "status": "completed"}, now)
    end = resources.act_by(was) if was else None
    words = _words(ehr, feeds)
    if was and standing and end and end > now and _says(was, words):
        return None
    if not standing or end is None or end <= now:
        end = policy.calendar.due(now, _LASTS)
    data: Json = {
        "resourceType": "Task",
        "id": resources.feed_id(ehr),
        "meta": {"security": [resources.STAFF_ONLY]},
        "identifier": [{"system": resources.FOLLOWUP_SYSTEM, "value": resources.feed_key(ehr)}],
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {"coding": [{"system": resources.TASK_KIND_SYSTEM, "code": followup.FEED_DOWN}]},
        "description": words,
        "authoredOn": was["authoredOn"] if was and standing else instant(now),
        "requester": {"reference": resources.DEVICE},
        "restriction": {"period": {"end": instant(end)}},
    }
    if was and was.get("note"):
        data["note"] = was["note"]
    return resources.touched(data, now)


def _says(was: Json, words: str) -> bool:
    """It is already said, under the code by which people find it."""
    return was.get("description") == words and resources.is_kind(was, followup.FEED_DOWN)


def _words(ehr: str, feeds: Iterable[Blind]) -> str:
    """No times: since when is for `authoredOn` to say, and words that move on would make versions."""
    what = by_reason((feed.type, feed.reason) for feed in feeds)
    return (
        f"The EHR {ehr} is not seen whole: {what}. No stall is claimed from what it should show, "
        "and no alert about it ends. Look with fhir-coprod ehr check."
    )

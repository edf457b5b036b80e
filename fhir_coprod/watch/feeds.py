"""One alert for each EHR that is down: silence from there says nothing about its referrals.

A type that a server never shows is no fault of today: the board lists it. A feed that failed or fell behind
is one Task per EHR, which runs out after a working day and comes back while the feed is down.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from fhir_coprod.jsontext import Json
from fhir_coprod.watch import carriers
from fhir_coprod.watch.calendar import Span
from fhir_coprod.watch.elements import moment
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.records import Blind
from fhir_coprod.watch.standing import instant

KIND: Final = "feed-down"
_LASTS: Final = Span(1, "wd")
_UTC: Final = ZoneInfo("UTC")


def alert(ehr: str, down: Iterable[Blind], was: Json | None, policy: Policy, now: datetime) -> Json | None:
    """The Task that should be there about one EHR; None when nothing needs to be written.

    down: its feeds that failed or are behind; empty when it is well.
    was:  the Task that is there.
    """
    standing = was is not None and was.get("status") == "requested"
    feeds = sorted(down, key=lambda feed: feed.type)
    if not feeds:
        if was is None or not standing:
            return None
        return carriers.touched({**was, "status": "completed"}, now)
    end = moment(((was or {}).get("restriction") or {}).get("period", {}).get("end"), _UTC)
    words = _words(ehr, feeds)
    if was and standing and end and end > now and was.get("description") == words:
        return None
    if not standing or end is None or end <= now:
        end = policy.calendar.due(now, _LASTS)
    data: Json = {
        "resourceType": "Task",
        "id": carriers.feed_id(ehr),
        "meta": {"security": [carriers.STAFF_ONLY]},
        "identifier": [{"system": carriers.FOLLOWUP_SYSTEM, "value": f"feed/{ehr}"}],
        "status": "requested",
        "intent": "order",
        "priority": "urgent",
        "code": {"text": KIND},
        "description": words,
        "authoredOn": was["authoredOn"] if was and standing else instant(now),
        "requester": {"reference": carriers.DEVICE},
        "restriction": {"period": {"end": instant(end)}},
    }
    return carriers.touched(data, now)


def _words(ehr: str, feeds: Iterable[Blind]) -> str:
    parts = [f"{feed.type} since {instant(feed.since)} ({feed.reason})" for feed in feeds]
    return (
        f"The EHR {ehr} is not seen whole: {'; '.join(parts)}. No stall is claimed from what it should show, "
        "and no alert about it ends. Look with fhir-coprod ehr check."
    )

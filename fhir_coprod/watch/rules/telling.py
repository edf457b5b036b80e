"""Says when the patient was last told anything about a referral. Pure."""

from __future__ import annotations

from datetime import datetime

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.task import status_at


def last_told(facts: Facts, now: datetime) -> datetime | None:
    """When the last message reached the patient or an active relative; None if none did.

    A Task of theirs that is coded as telling counts, too, once they have completed it: for what stood when it
    was written.
    """
    reaches = {facts.request.patient, *facts.proxies}
    told = [
        min(message.latest, now)
        for message in facts.messages
        if message.sent <= now and not reaches.isdisjoint(message.recipients)
    ]
    told += [
        side.authored
        for side in facts.side_tasks
        if "tells-patient" in side.says
        and side.authored is not None
        and not reaches.isdisjoint(side.owners)
        and side.states[-1].at <= now
        and status_at(side.states, now).status == "completed"
    ]
    return max(told, default=None)

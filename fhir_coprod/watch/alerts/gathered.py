"""Makes the Tasks that are about an EHR or a department as a whole, and not about one referral. Pure.

There is one such Task for each kind (`record/followup.py`) and EHR or department. It lasts for some days, and
is made anew as long as what it tells of goes on.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.record import followup

_BEGINS: Final = {
    followup.FEED_DOWN: "feed",
    followup.BACKFILL: "backfill",
    followup.SILENCE: "silence",
    followup.SCOPE_SHIFT: "scope-shift",
    followup.PRACTICE: "practice",
}
"""How the business identifier of such a Task begins, by its kind."""


def id_of(kind: str, about: str) -> str:
    """The id of the Task of a kind about an EHR (by name), or a department (by reference; "" is nobody's)."""
    return resources.id_of(resources.FOLLOWUP_SYSTEM, _key(kind, about))


def _key(kind: str, about: str) -> str:
    return f"{_BEGINS[kind]}/{about}"


def about(task: Json) -> str:
    """The EHR or department that such a Task is about; "" for any other Task."""
    for identifier in task.get("identifier") or ():
        begins, slash, whole = identifier.get("value", "").partition("/")
        if slash and begins in _BEGINS.values():
            return str(whole)
    return ""


def is_over(was: Json | None, now: datetime) -> bool:
    """Whether there is no such Task, or its time has run out, so that a new one is due."""
    end = resources.act_by(was) if was is not None else None
    return was is None or not resources.is_open(was) or end is None or end <= now


def ended(was: Json | None, now: datetime) -> Json | None:
    """The Task completed; None if it is not open."""
    if was is None or not resources.is_open(was):
        return None
    return resources.touched({**was, "status": "completed"}, now)


def task(
    kind: str,
    about: str,
    words: str,
    was: Json | None,
    until: datetime,
    now: datetime,
    *,
    urgent: bool = False,
) -> Json:
    """The Task with these words, to be acted on until then; it keeps the notes of the present one (`was`)."""
    data: Json = {
        "resourceType": "Task",
        "id": id_of(kind, about),
        "meta": {"security": [resources.STAFF_ONLY]},
        "identifier": [{"system": resources.FOLLOWUP_SYSTEM, "value": _key(kind, about)}],
        "status": "requested",
        "intent": "order",
        "priority": "urgent" if urgent else "routine",
        "code": {"coding": [{"system": followup.TASK_KIND_SYSTEM, "code": kind}]},
        "description": words,
        "authoredOn": was["authoredOn"] if was and resources.is_open(was) else instant(now),
        "requester": {"reference": resources.DEVICE},
        "restriction": {"period": {"end": instant(until)}},
    }
    if was and was.get("note"):
        data["note"] = was["note"]
    return resources.touched(data, now)

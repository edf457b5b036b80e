"""Lists open alerts, and lets a person acknowledge one or put it aside (snooze it) for a while.

Nobody can close an alert by hand: it is over when the missing fact is recorded. An acknowledgement expires. A
snooze has a maximum length, never goes past the guarantee date, and is not possible for asap and stat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fhir_coprod import jsontext
from fhir_coprod.errors import Conflict, NotAllowed, NotFound
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch.alerts import gathered, reconcile, resources
from fhir_coprod.watch.facts.reader import Reader, full_name
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.fhir import moment, split, target
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import spoken_end

_KINDS: Final = (
    followup.FOLLOWUP,
    followup.FEED_DOWN,
    followup.BACKFILL,
    followup.SILENCE,
    followup.SCOPE_SHIFT,
    followup.PRACTICE,
)
_ORDER: Final = {"stat": 0, "asap": 1, "urgent": 2}
_UTC: Final = ZoneInfo("UTC")
_ENOUGH: Final = 4
"""How many characters of an id are enough to name it."""


class NoSuchAlert(NotFound):
    """No open alert has that name; the command was used wrongly."""

    exit_code = 2


def open_alerts(reader: Reader) -> list[Json]:
    """Every Task of the watch that asks somebody to act, on a referral, a department or a whole EHR."""
    return reader.open_tasks(*_KINDS)


def worklist(store: Store, settings: Settings) -> list[Json]:
    """Everything that asks staff to act, the most urgent first."""
    with store.connect() as connection:
        return sorted(open_alerts(Reader(connection, settings)), key=_urgency)


def _urgency(task: Json) -> tuple[int, int, str]:
    return (
        _ORDER.get(task.get("priority", ""), 3),
        -resources.ladder_step(task),
        instant(resources.act_by(task)) or "",
    )


def end_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The last second of a day at the site. Raises OverflowError for the last day that Python knows."""
    return datetime.combine(day + timedelta(days=1), time(), zone) - timedelta(seconds=1)


def promised(task: Json) -> datetime | None:
    """The guarantee date of the referral that a follow-up is about."""
    for extension in task.get("extension") or ():
        if extension.get("url") == resources.STANDING_EXTENSION:
            for part in extension.get("extension") or ():
                if part.get("url") == "guarantee":
                    return moment(part.get("valueDateTime"), _UTC)
    return None


def find(store: Store, settings: Settings, name: str) -> tuple[Json, list[Json]]:
    """A follow-up and the DetectedIssues that it gathers.

    name: id of the Task or of the referral, or the beginning of either; or the id of one of its
          DetectedIssues.

    Raises NoSuchAlert, or Conflict if the name fits several.
    """
    with store.connect() as connection:
        reader = Reader(connection, settings)
        task = _find(reader, name.removeprefix("Task/").removeprefix("DetectedIssue/"))
        issues = reader.by_reference({("DetectedIssue", id) for id in resources.issues_of(task)})
        return task, [row.data for row in issues]


def _find(reader: Reader, name: str) -> Json:
    exact = [row.data for row in reader.by_reference({("Task", name)})]
    if exact and followup.is_kind(exact[0], *_KINDS):
        return exact[0]
    meant = [
        task
        for task in open_alerts(reader)
        if _begins(task["id"], name)
        or name in resources.issues_of(task)
        or target(task.get("focus")) == name
        or _begins(target(task.get("focus")).partition("/")[2], name)
    ]
    whole = [task for task in meant if target(task.get("focus")) in (name, f"ServiceRequest/{name}")]
    meant = whole or meant
    if len(meant) > 1:
        raise Conflict(f"{len(meant)} alerts begin with {name}; write more of the id.")
    if not meant:
        raise NoSuchAlert(f"There is no open alert {name}; see fhir-coprod alerts list.")
    return meant[0]


def _begins(id: str, name: str) -> bool:
    return id == name or (len(name) >= _ENOUGH and id.startswith(name))


def acknowledge(
    store: Store, settings: Settings, policy: Policy, name: str, by: str, now: datetime, words: str = ""
) -> Json:
    """Note that somebody has it. After the policy's `acknowledged_for` the alert asks again."""
    policy = policy.at(settings.site)

    def work(task: Json) -> Json:
        until = policy.calendar.due(now, policy.scaled(policy.alerts.acknowledged_for, task["priority"]))
        return {**_until(task, until), "status": "accepted"}

    return _change(store, settings, name, by, now, words or "Acknowledged.", work)


def snooze(
    store: Store,
    settings: Settings,
    policy: Policy,
    name: str,
    by: str,
    until: datetime,
    now: datetime,
    words: str = "",
) -> Json:
    """Put an alert aside until a time. Raises NotAllowed if that is not allowed, and says what is."""
    policy = policy.at(settings.site)

    def say(end: datetime) -> str:
        return spoken_end(end, settings.site.zone)

    def work(task: Json) -> Json:
        if task.get("priority") in reconcile.UNSNOOZABLE:
            raise NotAllowed(f"A {task['priority']} referral cannot be put aside; acknowledge it instead.")
        if until <= now:
            raise NotAllowed("That time is past; name one in the future.")
        cap = policy.calendar.due(now, policy.alerts.snooze_at_most)
        guarantee = promised(task)
        if guarantee is not None and guarantee <= until:
            raise NotAllowed(
                f"The patient's guarantee date is {say(guarantee)}; an alert cannot be put aside past it."
            )
        if until > cap:
            raise NotAllowed(f"An alert can be put aside until {say(cap)} at the latest.")
        return {**_until(task, until), "status": reconcile.SNOOZED}

    return _change(store, settings, name, by, now, words or f"Put aside until {say(until)}.", work)


def looked_at(
    store: Store, settings: Settings, referral: str, by: str, now: datetime, words: str = ""
) -> Json:
    """Note that somebody has looked at a referral of which nothing was heard: its silence starts again.

    referral: id of a ServiceRequest, or a reference.

    Raises NotAllowed if nobody is named, NoSuchAlert if there is no such referral.
    """
    if not by.strip():
        raise NotAllowed("Say who: a referral is looked at by name.")
    name = full_name(referral)

    def write(transaction: Transaction) -> Json:
        rows = [
            row
            for row in Reader(transaction.connection, settings).by_reference({split(name)})
            if row.is_referral
        ]
        if not rows:
            raise NoSuchAlert(f"There is no referral {name}; fhir-coprod watch --all lists them.")
        data: Json = {
            "resourceType": "Task",
            "id": resources.looked_at_id(name, by.strip(), now),
            "meta": {"security": [resources.STAFF_ONLY]},
            "status": "completed",
            "intent": "order",
            "code": {"coding": [{"system": followup.TASK_KIND_SYSTEM, "code": followup.LOOKED_AT}]},
            "focus": {"reference": name},
            "authoredOn": instant(now),
        }
        patient = target(rows[0].data.get("subject")) or target(rows[0].data.get("sender"))
        if patient:
            data["for"] = resources.reference(patient)
        data = resources.touched(resources.noted(data, by.strip(), words or "Looked at.", now), now)
        # Written as by a client, so that the watch follows it.
        transaction.put(jsontext.from_data(data), data["id"])
        return data

    return store.write(write)


def _until(task: Json, end: datetime) -> Json:
    return {**task, "restriction": {"period": {"end": instant(end)}}}


def _change(
    store: Store,
    settings: Settings,
    name: str,
    by: str,
    now: datetime,
    words: str,
    work: Callable[[Json], Json],
) -> Json:
    if not by.strip():
        raise NotAllowed("Say who: an alert is acknowledged or put aside by name.")

    def write(transaction: Transaction) -> Json:
        transaction.lock()
        task = _find(Reader(transaction.connection, settings), name.removeprefix("Task/"))
        if not resources.is_open(task):
            raise Conflict("This alert is over already; there is nothing left to do.")
        changed = resources.touched(resources.noted(work(task), by.strip(), words, now), now)
        # Written as by a client, so that the watch follows it and looks again when this runs out.
        transaction.put(jsontext.from_data(changed), changed["id"])
        return changed

    return store.write(write)


def as_json(task: Json, issues: Sequence[Json] = ()) -> Json:
    """The alert as `fhir-coprod alerts --json` prints it."""
    row: Json = {
        "id": task["id"],
        "referral": target(task.get("focus")),
        "patient": target(task.get("for")),
        "stage": resources.stage_of(task),
        "status": task.get("status"),
        "priority": task.get("priority"),
        "owner": target(task.get("owner")) or None,
        "act_by": instant(resources.act_by(task)),
        "step": resources.ladder_step(task),
        "rules": resources.rules_of(task),
        "ehr_down": gathered.about(task) if followup.is_kind(task, followup.FEED_DOWN) else None,
        "ehr_backfill": gathered.about(task) if followup.is_kind(task, followup.BACKFILL) else None,
        "kind": next(kind for kind in _KINDS if followup.is_kind(task, kind)),
        "description": task.get("description", ""),
    }
    if issues:
        row["issues"] = [
            {
                "id": issue["id"],
                "rule": resources.rule_of(issue),
                "status": issue.get("status"),
                "severity": issue.get("severity"),
                "found": issue.get("identifiedDateTime"),
                "detail": issue.get("detail", ""),
            }
            for issue in issues
        ]
        row["notes"] = [
            {"by": note.get("authorString"), "time": note.get("time"), "text": note.get("text")}
            for note in task.get("note") or ()
        ]
    return row

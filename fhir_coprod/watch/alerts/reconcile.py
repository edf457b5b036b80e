"""Decides which alerts of one referral to write or close, from its standing and its present alerts. Pure.

Running it twice changes nothing. A stall that is over is closed by itself; a stall that still exists cannot
be closed by hand; a stall whose end we could not see at present is left unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.record.fhir import FIRST, moment
from fhir_coprod.watch.rules.codes import ABOUT, OF_ORDERS
from fhir_coprod.watch.rules.policies import Policy, Severity
from fhir_coprod.watch.rules.standing import Stall, Standing, explain

TAKEN: Final = frozenset({"received", "accepted", "in-progress"})
"""Statuses of a follow-up that somebody has acknowledged."""
SNOOZED: Final = "on-hold"
WAITING: Final = "draft"
"""The status of a follow-up that does not ask anybody yet, because its referral is one of many that were
stalled when their EHR was first read."""
UNSNOOZABLE: Final = frozenset({"asap", "stat"})
_THE_STORE_S: Final = ("versionId", "lastUpdated")
_UTC: Final = ZoneInfo("UTC")
_CLOCKS_DIFFER: Final = timedelta(days=1)
"""How far a client's clock may be ahead of the watch's."""
_NO_NAMES: Final[Mapping[str, str]] = {}


def reconcile(
    standing: Standing,
    followups: Sequence[Json],
    issues: Mapping[str, Json],
    policy: Policy,
    now: datetime,
    names: Mapping[str, str] = _NO_NAMES,
    *,
    backfill: bool = False,
) -> list[Json]:
    """The resources to write so that the alerts of this referral are right; empty if they already are.

    followups: its follow-up Tasks, open or not.
    names:     names of departments, by reference.
    issues:    by id, every existing DetectedIssue that a follow-up gathers or `wanted_issues` names.
    backfill:  its stalls are among many old ones: a new follow-up waits as a draft, and the digest asks.
    """
    if any(modified(task) > now for task in followups):
        return []  # somebody with a later clock has judged; what we know is older
    standing_now = {
        (resources.rule_of(issue), resources.task_of(issue)): issue
        for task in followups
        for id in resources.issues_of(task)
        if (issue := issues.get(id)) and issue.get("status") == "preliminary"
    }
    writes: list[Json] = []
    found: list[tuple[Stall, str]] = []
    for stall in resources.gravest_first(standing.stalls):
        was = standing_now.pop((stall.rule, stall.task), None)
        id = was["id"] if was else resources.issue_id(standing.referral, stall)
        first = was["identifiedDateTime"] if was else instant(now)
        new = resources.issue(standing, stall, id, first, names)
        if was and was.get("identifier"):
            new["identifier"] = was["identifier"]  # it began at another time than we thought: the same alert
        _write(writes, new, was or issues.get(id))
        found.append((stall, id))
    unseen = [
        issue
        for (rule, _), issue in standing_now.items()
        if rule
        and (rule in standing.not_claimed or not set(ABOUT[rule].needs).isdisjoint(standing.not_observable))
    ]
    over = [issue for issue in standing_now.values() if issue not in unseen]
    why = _why(standing, names)
    for issue in over:
        resolved = _is_watched(standing, [resources.rule_of(issue)])
        writes.append(resources.over(issue, "final" if resolved else "cancelled", why, now))
        writes.append(resources.provenance(issue, why, now))
    writes += _followups(standing, found, unseen, followups, policy, now, names, backfill=backfill)
    return writes


def wanted_issues(standing: Standing, followups: Sequence[Json]) -> set[str]:
    """Ids of the DetectedIssues that `reconcile` needs."""
    wanted = {resources.issue_id(standing.referral, stall) for stall in standing.stalls}
    return wanted.union(*(resources.issues_of(task) for task in followups))


def _followups(
    standing: Standing,
    found: Sequence[tuple[Stall, str]],
    unseen: Sequence[Json],
    followups: Sequence[Json],
    policy: Policy,
    now: datetime,
    names: Mapping[str, str],
    *,
    backfill: bool,
) -> list[Json]:
    writes: list[Json] = []
    here = resources.followup_id(standing.referral, standing.stage) if standing.stage else ""
    if found:
        was = next((task for task in followups if task["id"] == here), None)
        current = was if was and resources.is_open(was) else None
        if was and not current:
            # It asks again: a new round, but its notes stay.
            current = {**was, "status": "requested", "restriction": {}}
            current = resources.with_step(current, 0)
        task = resources.followup(standing, found, unseen, current, now, names)
        if backfill and not _asks_already(current, found):
            task = {**task, "status": WAITING}
        else:
            task = _advanced(task, current, standing, found, policy, now)
        _write(writes, task, was, now)
    for task in followups:
        if resources.is_open(task) and (task["id"] != here or not found) and not (unseen and not found):
            resolved = _is_watched(standing, resources.rules_of(task))
            ended = {**task, "status": "completed" if resolved else "cancelled"}
            writes.append(resources.touched(ended, now))
    return writes


def _asks_already(was: Json | None, found: Sequence[tuple[Stall, str]]) -> bool:
    """Whether the follow-up has asked before, or there is a stall that the waiting one does not gather."""
    if was is None:
        return False
    return was["status"] != WAITING or not {id for _, id in found} <= set(resources.issues_of(was))


def next_step(task: Json, now: datetime) -> datetime | None:
    """When time alone changes a follow-up: it goes up the ladder, or a person's acknowledgement or snooze
    runs out. None if time does not change it.

    A follow-up that a later clock has judged is looked at again when ours has got there too.
    """
    if modified(task) > now:
        return modified(task)
    end = resources.act_by(task) if resources.is_open(task) else None
    return end if end is not None and end > now else None


def _advanced(
    task: Json,
    was: Json | None,
    standing: Standing,
    found: Sequence[tuple[Stall, str]],
    policy: Policy,
    now: datetime,
) -> Json:
    """The follow-up in its next state: asked, put aside, taken, or one step up the ladder."""
    severity: Severity = found[0][0].severity
    act_by = policy.act_by(severity, standing.priority, now)
    if was is None:
        return _asked(task, act_by)
    task, end = _within_limits(task, resources.act_by(was), standing, policy)
    if end is None:
        return _asked(task, act_by)
    news = bool({id for _, id in found} - set(resources.issues_of(was)))
    passed = end <= now
    if task["status"] == SNOOZED:
        promised = standing.guarantee is not None and standing.guarantee <= now
        if passed or news or promised or standing.priority in UNSNOOZABLE:
            return _asked(task, act_by)
        return task
    if news:
        return _asked(task, act_by)
    if not passed:
        return task
    step = resources.ladder_step(task)
    if step + 1 < len(policy.alerts.ladder):
        return _asked(resources.with_step(task, step + 1), act_by)
    return _asked(task, act_by) if task["status"] in TAKEN else task


def _within_limits(
    task: Json, end: datetime | None, standing: Standing, policy: Policy
) -> tuple[Json, datetime | None]:
    """Limit how long a person can hold a follow-up that they took or put aside, here or through the endpoint.

    Returns the Task and the end of that time.
    """
    if task["status"] in TAKEN:
        span = policy.scaled(policy.alerts.acknowledged_for, standing.priority)
    elif task["status"] == SNOOZED:
        span = policy.alerts.snooze_at_most
    else:
        return task, end
    since = modified(task)
    if since < FIRST:
        return task, end
    limit = policy.calendar.due(since, span)
    if end is not None and end <= limit:
        return task, end
    return {**task, "restriction": {"period": {"end": instant(limit)}}}, limit


def _asked(task: Json, by: datetime) -> Json:
    return {**task, "status": "requested", "restriction": {"period": {"end": instant(by)}}}


def modified(task: Json) -> datetime:
    """When the watch last judged a follow-up, or a person changed it."""
    return moment(task.get("lastModified"), _UTC) or datetime.min.replace(tzinfo=UTC)


def believed(task: Json, now: datetime, latest: datetime) -> Json:
    """The follow-up, with its time of change replaced by now if no clock can have shown that time yet.

    latest: the latest time at which a watch has judged anything here.

    A client may write any time. With a time in the future no watch would say anything about the referral
    until then, and the person who took the follow-up would hold it that long.
    """
    if modified(task) <= max(now, latest) + _CLOCKS_DIFFER:
        return task
    return resources.touched(task, now)


def _is_watched(standing: Standing, rules: Iterable[str | None]) -> bool:
    """Whether these rules are watched for what it is now, so that an alert that ends is resolved."""
    if standing.stage is None:
        return False
    return standing.scope == "referral" or (
        standing.scope == "diagnostic" and not OF_ORDERS.isdisjoint(rule for rule in rules if rule)
    )


def _why(standing: Standing, names: Mapping[str, str]) -> str:
    if standing.scope in ("out", "unclear", "diagnostic"):
        return f"Withdrawn: not watched as a referral, because {standing.in_scope}."
    if standing.stage is None:
        return "Withdrawn: there is no such referral any more."
    return f"Resolved by itself: {explain(standing, names)}."


def _write(writes: list[Json], new: Json, was: Json | None, now: datetime | None = None) -> None:
    """Add `new` unless it says the same as `was`; with `now`, mark it as modified then."""
    if was is not None and _content(new) == _content(was):
        return
    writes.append(resources.touched(new, now) if now else new)


def _content(resource: Json) -> Json:
    meta = {key: value for key, value in (resource.get("meta") or {}).items() if key not in _THE_STORE_S}
    return {**resource, "meta": meta}

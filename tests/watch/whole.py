"""What a look at everything says, and whether the store's rows and alerts say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from fhir_coprod import jsontext
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch import Policy, Standing
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts.reader import portions
from fhir_coprod.watch.live.look import assess_each, reader_at
from fhir_coprod.watch.record import followup

_decode = msgspec.msgpack.Decoder(Standing).decode


def said(standing: Standing) -> Standing:
    """All that is said, without the times that are `now` itself while something goes on."""
    return msgspec.structs.replace(standing, wake=None, last_informed=None, due=None)


def looked_at_whole(store: Store, policy: Policy, now: datetime, site: Settings) -> dict[str, Standing]:
    """Every referral judged from nothing but its facts."""
    with store.connect() as connection:
        return {
            standing.referral: said(standing)
            for portion in portions(reader_at(connection, site, policy, now))
            for standing, _ in assess_each(portion, policy, now)
        }


def remembered(store: Store) -> dict[str, tuple[Standing, int]]:
    """Every row, with its due; one without a body is an error."""
    with store.connect() as connection:
        rows = connection.execute(
            select(
                watch_tables.standing.c.referral, watch_tables.standing.c.body, watch_tables.standing.c.due
            )
        ).all()
    return {referral: (_decode(body), due) for referral, body, due in rows}


def newest(store: Store, *types: str) -> list[dict[str, Any]]:
    with store.connect() as connection:
        bodies = connection.execute(
            select(core.version.c.body)
            .join(core.resource, core.resource.c.position == core.version.c.position)
            .where(core.resource.c.type.in_(types), core.resource.c.deleted.is_(False))
        ).scalars()
        return [jsontext.decode(body) for body in bodies]


def remembered_so_far(store: Store) -> list[tuple[Standing, int]]:
    with store.connect() as connection:
        rows = connection.execute(select(watch_tables.standing.c.body, watch_tables.standing.c.due)).all()
    return [(_decode(body), due) for body, due in rows if body]


def alerts_say_what_standings_say(store: Store, standings: Iterable[Standing]) -> None:
    """One open DetectedIssue for each stall, one open follow-up for each referral and stage; none beyond, but
    for what cannot be seen."""
    standings = list(standings)
    ever = newest(store, "DetectedIssue")
    assert set(Counter(issue["identifier"][0]["value"] for issue in ever).values()) <= {1}
    issues = [issue for issue in ever if issue["status"] == "preliminary"]
    open_ones = Counter(
        (i["implicated"][0]["reference"], str(resources.rule_of(i)), resources.task_of(i)) for i in issues
    )
    wanted = Counter(
        (standing.referral, str(stall.rule), stall.task)
        for standing in standings
        for stall in standing.stalls
    )
    assert open_ones >= wanted
    blind = {standing.referral for standing in standings if standing.not_observable}
    kept = open_ones - wanted
    assert {referral for referral, _, _ in kept} <= blind, "only what cannot be seen stays as it was"
    followups = [
        task
        for task in newest(store, "Task")
        if followup.is_kind(task, followup.FOLLOWUP) and resources.is_open(task)
    ]
    asked = Counter((t["focus"]["reference"], resources.stage_of(t)) for t in followups)
    assert asked >= Counter((s.referral, str(s.stage)) for s in standings if s.stalls)
    assert set(asked.values()) <= {1}
    assert {referral for referral, _ in asked} <= {s.referral for s in standings if s.stalls} | blind

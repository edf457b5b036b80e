"""Runs the whole watch in one call: brings everything up to `now` and returns where referrals stand."""

from __future__ import annotations

from datetime import datetime

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing


def sweep(store: Store, policy: Policy, now: datetime, settings: Settings) -> list[Standing]:
    """Do everything the watch has to do by `now`: raise, keep and resolve alerts, and store standings.

    Returns the standings of referrals that are not closed, and of those that could not be assessed, whose
    alerts are left unchanged.
    """
    Watch(store, policy, settings).catch_up(now)
    with store.connect() as connection:
        return list(rows.remembered(connection))

"""The store, the settings and the policy of one watch, in one value."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.live.basis import Ground, ground_now
from fhir_coprod.watch.rules.policies import Policy


class Site(NamedTuple):
    """One store, and the settings and policy by which it is watched."""

    store: Store
    settings: Settings
    policy: Policy

    def ground(self, connection: Connection, now: datetime) -> Ground:
        return ground_now(connection, self.settings, self.policy, now)

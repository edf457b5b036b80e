"""Records what all stored standings rest on, so that a change of it makes the watch look at referrals again.

That is the code that judged, the policy with its calendar, what could not be seen, and since when an EHR has
been read; the facts of the referral itself are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, select

from fhir_coprod.settings import Settings
from fhir_coprod.store import Transaction
from fhir_coprod.store.schema import core
from fhir_coprod.watch.facts import kept
from fhir_coprod.watch.facts.habits import Practices
from fhir_coprod.watch.facts.siblings import how_indexed
from fhir_coprod.watch.facts.visibility import blind_feeds, first_read, unread_records
from fhir_coprod.watch.record import words
from fhir_coprod.watch.rules.policies import Policy

_RULES: Final = "watch:rules"
_FEEDS: Final = "watch:feeds"
_UNREAD: Final = "watch:unread"
SETTINGS: Final = (_RULES, _FEEDS, _UNREAD)


class Ground(NamedTuple):
    """What standings rest on; kept in three settings of the store."""

    rules: str
    """The code, the policy, what codes mean and the index of orders, as hashes."""
    feeds: str
    """Which types of which EHR cannot be seen, when each EHR was first read, and which steps are not in use
    there."""
    unread: frozenset[str]
    """What is not seen of single records: the reference of each, the type that is missing, and from when."""


def ground_now(connection: Connection, settings: Settings, policy: Policy, now: datetime) -> Ground:
    """What standings that are made now rest on."""
    feeds = sorted(
        (blind.ehr, blind.type, blind.departments, blind.down)
        for blind in blind_feeds(connection, settings, policy.pulled_since(now))
    )
    read = sorted(first_read(connection).items())
    meanings = words.load(settings.watch.words).fingerprint
    return Ground(
        f"{kept.program().hex()} {policy.fingerprint} {how_indexed(connection)} {meanings.hex()}",
        msgspec.json.encode([feeds, read, Practices.known(connection, settings).fingerprint]).decode(),
        frozenset(
            f"{name} {blind.type} {blind.made}"
            for name, several in unread_records(connection).items()
            for blind in several
        ),
    )


def ground_of(connection: Connection) -> Ground | None:
    """What the stored standings rest on; None if there are none yet."""
    setting = core.setting.c
    statement = select(setting.name, setting.value).where(setting.name.in_(SETTINGS))
    held: Mapping[str, str] = dict(connection.execute(statement).all())
    if len(held) < len(Ground._fields):
        return None
    return Ground(held[_RULES], held[_FEEDS], msgspec.json.decode(held[_UNREAD], type=frozenset[str]))


def lay(transaction: Transaction, ground: Ground) -> None:
    """Store what standings rest on from now on."""
    transaction.set_setting(_RULES, ground.rules)
    transaction.set_setting(_FEEDS, ground.feeds)
    transaction.set_setting(_UNREAD, msgspec.json.encode(sorted(ground.unread)).decode())


def forget(transaction: Transaction) -> None:
    """Let nobody know what the stored standings rest on, so that every referral is judged again."""
    for name in SETTINGS:
        transaction.drop_setting(name)

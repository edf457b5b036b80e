"""Referrals judged as they are in the store, without writing.

How old a feed may be before its silence says nothing follows from policy and time, here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.facts.kept import Sources
from fhir_coprod.watch.facts.newest import Texts
from fhir_coprod.watch.facts.reader import Found, Reader, full_name, read_one
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing


def reader_at(
    connection: Connection, settings: Settings, policy: Policy, now: datetime, parsed: Texts | None = None
) -> Reader:
    """A reader to which a feed that the policy calls behind at `now` is not observable; `parsed` as there."""
    return Reader(connection, settings, policy.pulled_since(now), parsed)


def look_at(store: Store, referral: str, policy: Policy, now: datetime, settings: Settings) -> Standing:
    """One referral at `now`; `referral` as in `gather`. Raises NotFound.

    By what its row keeps, where the watch has followed the log to its end; else the record itself is read.
    """
    name = full_name(referral)
    # In this order: what is in the log by then has been followed, and its referrals are marked.
    followed = store.cursor(FOLLOWER) == store.head()
    with store.connect() as connection:
        reader = reader_at(connection, settings, policy, now)
        kept = Sources(reader).kept(name, rows.held(connection, name)) if followed else None
        return assess(kept or read_one(reader, name), policy, now)


def assess_each(
    portion: Iterable[Found], policy: Policy, now: datetime
) -> Iterator[tuple[Standing, Found | None]]:
    """Each standing with what it was read from; None beside one that could not be assessed.

    A referral that trips a fault of ours must not hide the others. Its standing names the kind of fault
    alone: the message of a fault may hold what the record says.
    """
    for found in portion:
        fault = found.fault
        if found.facts is not None:
            try:
                standing = assess(found.facts, policy, now)
            except Exception as error:  # noqa: BLE001 - see above
                fault = type(error).__name__
            else:
                yield standing, found
                continue
        yield Standing(found.referral, "", None, policy=policy.label, not_assessed=fault), None

"""Judges referrals from the store without writing anything.

How old a feed may be before its silence means nothing depends on policy and time; that is decided here and
nowhere else.
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
    connection: Connection,
    settings: Settings,
    policy: Policy,
    now: datetime,
    parsed: Texts | None = None,
    hidden: int = 0,
) -> Reader:
    """A reader that treats feeds as blind if they are behind at `now` by the policy; for `parsed` and
    `hidden` see `Newest`."""
    return Reader(connection, settings, policy.pulled_since(now), parsed, hidden)


def look_at(
    store: Store, referral: str, policy: Policy, now: datetime, settings: Settings, hidden: int = 0
) -> Standing:
    """The standing of one referral at `now`; `referral` as in `gather`. Raises NotFound.

    hidden: labels of which one keeps a record from whoever asks, as bits: it is judged without such records

    If the watch has followed the log to its end, the facts come from the row; otherwise the record is read.
    """
    name = full_name(referral)
    # This comes before reading the row: then all entries of the log so far have marked their referrals.
    followed = not hidden and store.cursor(FOLLOWER) == store.head()
    with store.connect() as connection:
        reader = reader_at(connection, settings, policy, now, hidden=hidden)
        kept = Sources(reader).kept(name, rows.held(connection, name)) if followed else None
        return assess(kept or read_one(reader, name), policy, now)


def assess_each(
    portion: Iterable[Found], policy: Policy, now: datetime
) -> Iterator[tuple[Standing, Found | None]]:
    """Each standing with what it was read from; None beside a standing that could not be assessed.

    A referral that triggers a fault in our code must not hide the others. Its standing names only the kind of
    fault: the message of a fault may contain what the record says.
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

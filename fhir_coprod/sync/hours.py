"""Decides which EHRs may be read now, and which are due: by their hours, their pauses and their intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Transaction
from fhir_coprod.sync import pauses

RETRY_SECONDS = 60
"""How soon a sync that was due and found another one in progress is due again."""


def left_out(
    connection: Connection,
    settings: Settings,
    ehrs: Iterable[EhrSettings],
    now: datetime,
    *,
    any_hour: bool = False,
) -> dict[str, str]:
    """The EHRs that are not to be read now, each with why.

    any_hour: the hours do not count, only the pauses
    """
    paused = pauses.pauses(connection, now)
    found = {}
    for ehr in ehrs:
        if ehr.name in paused:
            found[ehr.name] = paused[ehr.name].words(settings.site.zone)
        elif not any_hour and (why := _closed(settings, ehr, now)):
            found[ehr.name] = why
    return found


def _closed(settings: Settings, ehr: EhrSettings, now: datetime) -> str:
    zone = settings.site.zone
    if ehr.hours is None or ehr.hours.is_open(now, zone):
        return ""
    opens = ehr.hours.changes(now, zone).astimezone(zone)
    return f"outside its hours ({ehr.window}) until {opens:%H:%M}"


def closing(settings: Settings, ehrs: Iterable[EhrSettings], now: datetime) -> dict[str, datetime]:
    """When the hours of the EHRs that have any, and are within them, are over."""
    return {ehr.name: ehr.hours.changes(now, settings.site.zone) for ehr in ehrs if ehr.hours is not None}


def interval(settings: Settings, ehr: EhrSettings) -> float:
    """Seconds from the beginning of one sync of the EHR to that of the next by the settings; 0: never."""
    own = ehr.every_minutes
    return (settings.sync.every_minutes if own is None else own) * 60


def take_due(transaction: Transaction, settings: Settings, now: datetime) -> list[str]:
    """The EHRs whose last sync began long enough ago and that may be read; notes that one begins now."""
    transaction.lock()
    at = transaction.seconds()
    # One that begins in the future was recorded before the clock was set back: it says nothing.
    due = [
        ehr
        for ehr in settings.ehr
        if (every := interval(settings, ehr)) and not 0 <= at - transaction.cursor(_cursor(ehr.name)) < every
    ]
    out = left_out(transaction.connection, settings, due, now) if due else {}
    names = [ehr.name for ehr in due if ehr.name not in out]
    for name in names:
        transaction.set_cursor(_cursor(name), at)
    return names


def put_off(transaction: Transaction, settings: Settings, names: Sequence[str]) -> None:
    """Make these EHRs due again in a minute: their sync could not begin."""
    every: Mapping[str, float] = {ehr.name: interval(settings, ehr) for ehr in settings.ehr}
    for name in names:
        wait = min(RETRY_SECONDS, every[name])
        transaction.set_cursor(_cursor(name), transaction.seconds() - round(every[name] - wait))


def _cursor(ehr: str) -> str:
    """The cursor that holds when the last scheduled sync of an EHR began, in seconds."""
    return f"sync:began:{ehr}"

"""Reads times as people type them."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import typer

from fhir_coprod.watch.record.fhir import moment, within_reach
from fhir_coprod.watch.worklist import desk


def time_of(text: str, zone: ZoneInfo) -> datetime:
    """A time as people type it. The default zone is the site's; a day alone means its beginning."""
    if len(text) > 10 and moment(text, zone) is None:
        try:
            return within_reach(datetime.fromisoformat(text).replace(tzinfo=zone))
        except ValueError:
            pass
    found = moment(text, zone)
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-03-02 or 2026-03-02T09:00:00Z.")
    return found


def end_of(text: str, zone: ZoneInfo) -> datetime:
    """The end of a day, or a time."""
    try:
        return desk.end_of_day(date.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        return time_of(text, zone)

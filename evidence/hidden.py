"""Finds out how long each kind of silence hides a referral that is truly stalled, and what ends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple

from evidence.silence import Look
from evidence.watching import APART, Watched, morning
from fhir_coprod.simulate.life import Life
from fhir_coprod.simulate.truth import Stall

LEAST: Final = timedelta(days=1)
"""What is silent for less is only waiting for the next morning."""
ENDS: Final = ("alert", "list", "over", "never")
"""An alert; the list of silent referrals (`silent-too-long`); the stall was over; nothing until the end."""


class Hidden(NamedTuple):
    """A referral that was truly stalled while nobody was alerted."""

    kind: str
    days: float
    end: str
    """One of ENDS."""


def hidden_in(life: Life, found: Mapping[str, Watched], recent: datetime, end: datetime) -> Iterator[Hidden]:
    """The silence about each referral of a life, after `recent`: of each kind the longest."""
    stalls = sorted((s for s in life.stalls if s.rule not in APART), key=lambda stall: stall.referral)
    for name, own in groupby(stalls, key=lambda stall: stall.referral):
        watched = found.get(name)
        longest: dict[str, Hidden] = {}
        for stall in own:
            first = morning(stall.stalled)
            if first <= recent:
                continue
            looks = watched.looks if watched else ()
            for one in _silences(stall, first, looks, end):
                known = longest.get(one.kind)
                if known is None or known.days < one.days:
                    longest[one.kind] = one
        yield from longest.values()


def _silences(stall: Stall, first: datetime, looks: Iterable[Look], end: datetime) -> Iterator[Hidden]:
    """The stretches of silence while a stall is true; each has the kind that lasts longest in it."""
    over = min(stall.until or end, end)
    lasts: dict[str, timedelta] = {}
    for begin, until, look in _stretches(looks, first, over):
        kind = "no record" if look is None else look.kind(stall.rule)
        if not kind or (look is not None and look.is_listed):
            yield from _ended(lasts, "list" if kind else "alert")
            lasts = {}
            if kind:
                return  # from then on it is on a list
        else:
            lasts[kind] = lasts.get(kind, timedelta()) + (until - begin)
    yield from _ended(lasts, "over" if stall.until is not None and stall.until <= end else "never")


def _ended(lasts: Mapping[str, timedelta], end: str) -> Iterator[Hidden]:
    whole = sum(lasts.values(), timedelta())
    if whole >= LEAST:
        kind = max(lasts, key=lambda name: lasts[name])
        yield Hidden(kind, whole / timedelta(days=1), end)


def _stretches(
    looks: Iterable[Look], begin: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime, Look | None]]:
    """What held from one time to the next, between two times."""
    at, now = begin, None
    for look in looks:
        if look.at >= end:
            break
        if look.at > at:
            yield at, look.at, now
            at = look.at
        now = look
    if at < end:
        yield at, end, now

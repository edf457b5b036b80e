"""Formats dates and times for the pages."""

from __future__ import annotations

from datetime import datetime


def day(at: datetime) -> str:
    """23 November 2026."""
    return f"{at.day} {at:%B %Y}"


def clock(at: datetime) -> str:
    """23 November 2026, 09:14."""
    return f"{day(at)}, {at:%H:%M}"

"""Hours of the day within which an EHR may be read: `22:00-05:00`, by the clock on the site's wall.

A window goes by what the wall clock shows. So in the night that has one hour twice, both are within it, and
in the night that lacks one, the window is shorter.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

_FORM: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_MINUTE: Final = timedelta(minutes=1)
_LONGEST: Final = 2 * 24 * 60
"""Minutes within which every window opens and closes, in whatever zone."""


class Window(NamedTuple):
    """From `start` to just before `end`; over midnight if the end is the earlier of the two."""

    start: time
    end: time

    @classmethod
    def read(cls, text: str) -> Window:
        """Raises ValueError with what to write."""
        found = _FORM.fullmatch(text.replace(" ", "").replace("-24:00", "-00:00"))  # ISO 8601 has both
        a, b, c, d = (int(part) for part in found.groups()) if found else (0, 0, 0, 0)
        window = cls(time(a, b), time(c, d))
        if window.start == window.end:
            raise ValueError("write from when until when in local time, such as 22:00-05:00")
        return window

    def is_open(self, now: datetime, zone: ZoneInfo) -> bool:
        shown = now.astimezone(zone).time()
        if self.start < self.end:
            return self.start <= shown < self.end
        return shown >= self.start or shown < self.end

    def changes(self, now: datetime, zone: ZoneInfo) -> datetime:
        """When it next opens, if it is closed, or closes, if it is open; aware UTC."""
        was = self.is_open(now, zone)
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(_LONGEST):
            minute += _MINUTE
            if self.is_open(minute, zone) != was:
                break
        return minute

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

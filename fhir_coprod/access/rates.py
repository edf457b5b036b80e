"""How often somebody may do something: a bucket of tokens that fills up again with time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_MOST: Final = 10_000
"""Callers that are remembered; beyond that, the one who has not been here for longest is forgotten."""


class Rates:
    """Buckets by caller; each holds `burst` at most and fills at `per_second`.

    Not thread-safe: it belongs to one event loop.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._held: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, per_second: float = 0.0) -> float:
        """0 if the caller may go on, else the seconds after which they may.

        per_second: of this caller, if it is not as for all; its burst is then ten seconds' worth
        """
        rate = per_second or self._per_second
        burst = max(1.0, per_second * 10) if per_second else self._burst
        now = self._clock()
        left, since = self._held.get(caller) or (burst, now)
        left = min(burst, left + (now - since) * rate)
        if left < 1.0:
            return (1.0 - left) / rate
        self._keep(caller, left - 1.0, now)
        return 0.0

    def empty_for(self, caller: str) -> float:
        """The seconds until the caller may go on; nothing is taken."""
        left, since = self._held.get(caller) or (self._burst, 0.0)
        left = min(self._burst, left + (self._clock() - since) * self._per_second)
        return 0.0 if left >= 1.0 else (1.0 - left) / self._per_second

    def _keep(self, caller: str, left: float, now: float) -> None:
        self._held.pop(caller, None)
        self._held[caller] = (left, now)  # as the last one: whoever stands first was here longest ago
        if len(self._held) > _MOST:
            del self._held[next(iter(self._held))]

"""Caches for answers about texts that callers choose; together they stay within so many bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from sys import getsizeof
from typing import ParamSpec, Protocol, TypeVar, cast
from weakref import WeakValueDictionary

T = TypeVar("T")
P = ParamSpec("P")

_ENTRY = 250
"""Bytes of an entry beside its texts: its place, and what holds them together."""


class Clearable(Protocol):
    """A set or a dictionary, or whoever can empty one."""

    def clear(self) -> None: ...


class Account:
    """What many caches have taken together since they were last emptied.

    Each may have a limit of its own, but there are hundreds, one for each rule, binding, format or type, and
    together they could take gigabytes. When they have taken too much all are emptied: what was there is soon
    worked out again.

    most: bytes
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self._caches: WeakValueDictionary[int, Clearable] = WeakValueDictionary()

    def add(self, cache: Clearable) -> None:
        """Another cache. It is not kept alive."""
        self._caches[id(cache)] = cache

    def take(self, size: int) -> None:
        """Say that a cache keeps so many bytes more from now on."""
        # Threads may do this at once, and then some bytes are not counted: the limit need not be exact.
        self.taken += size
        if self.taken > self.most:
            self.clear()

    def keep(self, *values: object) -> None:
        """Say that a cache keeps these simple values from now on."""
        self.take(_ENTRY + sum(map(getsizeof, values)))

    def clear(self) -> None:
        """Forget everything."""
        self.taken = 0
        for cache in list(self._caches.values()):
            cache.clear()


TEXTS = Account(24_000_000)
"""Everything that is remembered about texts that callers choose."""


def remembering_short(
    number: int, length: int, account: Account = TEXTS
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember the latest answers of a function that takes texts, by place.

    number:  how many answers to keep
    length:  the longest text in characters that is kept; the answer for a longer one is worked out each time.
             Without a bound, who sends long texts would decide how much memory a server takes
    account: of the caches that this is one of
    """

    def remember(function: Callable[P, T]) -> Callable[P, T]:
        worked_out = cast("Callable[..., T]", function)

        @lru_cache(maxsize=number)
        def remembered(*texts: str) -> T:
            found = worked_out(*texts)
            account.keep(*texts, found)
            return found

        @wraps(function)
        def answer(*texts: str) -> T:
            for text in texts:
                if len(text) > length:
                    return worked_out(*texts)
            return remembered(*texts)

        answer.clear = remembered.cache_clear  # type: ignore[attr-defined]
        account.add(cast("Clearable", answer))
        return cast("Callable[P, T]", answer)

    return remember

"""A cache for answers about texts that comes with a bound on its memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")


def remembering_short(number: int, length: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Remember the latest answers of a function that takes texts, by place.

    number: how many answers to keep
    length: the longest text in characters that is kept; the answer for a longer one is worked out each time.
            Without a bound, who sends long texts would decide how much memory a server takes
    """

    def remember(function: Callable[P, T]) -> Callable[P, T]:
        remembered = lru_cache(maxsize=number)(function)

        @wraps(function)
        def answer(*texts: str) -> T:
            for text in texts:
                if len(text) > length:
                    return worked_out(*texts)
            return remembered(*texts)

        worked_out = cast("Callable[..., T]", function)
        return cast("Callable[P, T]", answer)

    return remember

"""A cache for answers about texts that comes with a bound on its memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")


def remembering_short(number: int, length: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Remember the latest answers of a function that takes a text.

    number: how many answers to keep
    length: longest text in characters that is kept; the answer for a longer one is worked out each time
    """

    def remember(function: Callable[[str], T]) -> Callable[[str], T]:
        remembered = lru_cache(maxsize=number)(function)

        @wraps(function)
        def answer(text: str) -> T:
            return remembered(text) if len(text) <= length else function(text)

        return answer

    return remember

"""Counts the elements of JSON text before it is decoded: `{},{},…` takes thirty times its size as values.

Counted are commas and opening brackets outside strings, and each object twice, since it takes twice the
memory of a list. That is one for each value and more, so never too few. Real FHIR holds one in 9 to 20 bytes.
"""

from __future__ import annotations

import re
from typing import Final

MAX_ELEMENTS: Final = 1_500_000
"""More are not decoded unless a caller says otherwise; 20 MB of almost all real resources hold fewer."""

_BLOCK = 65_536
_STRING = re.compile(rb'"[^"]*+"')


def has_more_elements(raw: bytes, most: int = MAX_ELEMENTS) -> bool:
    """Whether the JSON text holds more elements than `most`; stops counting once it does."""
    # In valid JSON none counts more than its bytes. What stands in strings is told apart only if it matters.
    if len(raw) <= most or _marks(raw) < most:
        return False
    count = ElementCount()
    return any(count.add(raw[at : at + _BLOCK]) > most for at in range(0, len(raw), _BLOCK))


class ElementCount:
    """The elements of a text that comes in pieces."""

    def __init__(self) -> None:
        self.total = 1
        self._begun = b""
        """A quote, if the text so far ends inside a string, and a backslash if that is its last character."""

    def add(self, piece: bytes) -> int:
        """Count another piece; the total so far."""
        # Backslashes stand in strings only: without them, and the quotes behind them, a string ends at its
        # next quote.
        bare = _STRING.sub(b"", (self._begun + piece).replace(b"\\\\", b"").replace(b'\\"', b""))
        start = bare.find(b'"')
        self._begun = b""
        if start >= 0:
            self._begun = b'"\\' if bare.endswith(b"\\") else b'"'
            bare = bare[:start]
        self.total += _marks(bare)
        return self.total


def _marks(text: bytes) -> int:
    return text.count(b",") + 2 * text.count(b"{") + text.count(b"[")

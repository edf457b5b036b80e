"""Where things stand in JSON text: the one scanner, over text or bytes, also where a server cut them off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import AnyStr, Final

STRING: Final = 1
KEY: Final = 2
OPENING: Final = 3
CLOSING: Final = 4
SCALAR: Final = 5
"""A number, true, false or null."""
UNENDED: Final = 6
"""A quote that opens a string which never ends: what follows it is no JSON."""

# Each group is a kind, by its number. Group 2 is the colon that makes the string before it a key. Possessive:
# no state is kept for a string of megabytes, and a text cut off inside one is not walked again from each
# quote.
_GRAMMAR = r"""("(?:[^"\\]++|\\.)*+")(\s*+:)?|([{\[])|([}\]])|([^\s,:"{}\[\]]++)|(")"""
_IN_TEXT = re.compile(_GRAMMAR, re.DOTALL).finditer
_IN_BYTES = re.compile(_GRAMMAR.encode(), re.DOTALL).finditer


def tokens(json: AnyStr) -> Iterator[re.Match[AnyStr]]:
    """Every token in order. `lastindex` is its kind; the string of a key, without colon, is group STRING."""
    return _IN_TEXT(json) if isinstance(json, str) else _IN_BYTES(json)

"""Scans JSON text or bytes into tokens; also works on text that a server has cut off."""

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
"""A quote that opens a string which never ends: what follows it is not JSON."""

# The number of a group is the kind of token. Group 2 is the colon that makes the string before it a key. The
# quantifiers are possessive, so that no state is kept for a string of megabytes, and a text that is cut off
# inside one is not scanned again from each quote.
_GRAMMAR = r"""("(?:[^"\\]++|\\.)*+")(\s*+:)?|([{\[])|([}\]])|([^\s,:"{}\[\]]++)|(")"""
_IN_TEXT = re.compile(_GRAMMAR, re.DOTALL).finditer
_IN_BYTES = re.compile(_GRAMMAR.encode(), re.DOTALL).finditer


def tokens(json: AnyStr) -> Iterator[re.Match[AnyStr]]:
    """Every token in order. `lastindex` is its kind; group STRING is the string of a key, without colon."""
    return _IN_TEXT(json) if isinstance(json, str) else _IN_BYTES(json)

"""Gives memory that was freed back to the system.

The C library of Linux keeps it, in a heap for each of several threads: after sixty pages of the board to 24
callers, 229 MB that nobody used. Other systems have no such call, and nothing is done there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress


def _trim() -> Callable[[int], int] | None:
    with suppress(AttributeError, OSError, TypeError):
        found = ctypes.CDLL(None).malloc_trim
        found.argtypes, found.restype = (ctypes.c_size_t,), ctypes.c_int
        trim: Callable[[int], int] = found
        return trim
    return None


_found = _trim()


def give_back() -> None:
    """Give back what is free; it takes some milliseconds, in which other Python threads go on."""
    if _found is not None:
        _found(0)

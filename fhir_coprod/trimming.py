"""Keeps memory that was freed from staying with the process.

The C library of Linux keeps it, in a heap for each of several threads: after sixty pages of the board to 24
callers, 229 MB that nobody used; in a worker after twenty minutes of mixed load, 78 of 112 MB. Other systems
have no such calls, and nothing is done there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

_ARENA_MAX = -8
"""M_ARENA_MAX of <malloc.h>."""
_HEAPS = 2
"""One for the event loop, one for all other threads: these hold Python's lock while they ask for memory, so
hardly one waits for another."""


def _function(name: str, *arguments: type) -> Callable[..., int]:
    """A function of the C library; one that does nothing where there is none."""
    with suppress(AttributeError, OSError, TypeError):
        found = ctypes.CDLL(None)[name]
        found.argtypes, found.restype = arguments, ctypes.c_int
        called: Callable[..., int] = found
        return called
    return lambda *_: 0


_mallopt = _function("mallopt", ctypes.c_int, ctypes.c_int)
_malloc_trim = _function("malloc_trim", ctypes.c_size_t)


def share_heaps() -> None:
    """Have all threads share two heaps. To be called before the first of them is started."""
    _mallopt(_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Give back what is free; it takes some milliseconds, in which other Python threads go on."""
    _malloc_trim(0)

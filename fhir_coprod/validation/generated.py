"""Python that was written by Python, loaded so that a traceback shows its lines."""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

_numbers = count(1)


def load(source: str, kind: str, name: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function of that name which the source defines; `kind` is what a traceback calls the place.

    The source stays in `linecache`, where tracebacks and debuggers look, for as long as the function lives.
    """
    file = f"<{kind} {next(_numbers)}>"
    # Whoever calls names each thing in the source itself, and writes constants by repr().
    exec(compile(source, file, "exec"), namespace)  # noqa: S102
    made: Callable[..., Any] = namespace[name]
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    weakref.finalize(made, linecache.cache.pop, file, None).atexit = False
    return made

"""Loads generated Python source so that a traceback shows its lines."""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Callable
from itertools import count
from typing import Any

_numbers = count(1)


def load(source: str, kind: str, name: str, namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function called `name` that the source defines; a traceback calls its file `kind`.

    The source stays in `linecache`, where tracebacks and debuggers look, for as long as the function lives.
    """
    file = f"<{kind} {next(_numbers)}>"
    # The caller chooses every name in the source and writes constants with repr().
    exec(compile(source, file, "exec"), namespace)  # noqa: S102
    made: Callable[..., Any] = namespace[name]
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    weakref.finalize(made, linecache.cache.pop, file, None).atexit = False
    return made

"""Reports an unexpected error (a fault in our code) by its class and place in the code, never by its text.

The text of such an error may contain a record, a credential or an address with a person's name in its query.
The errors that we raise on purpose are in `fhir_coprod.errors`; their messages are safe to show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_PACKAGE = Path(__file__).parent


def said(error: BaseException) -> str:
    """One sentence for a report, a log or a terminal, with the line of this package where it happened."""
    place = next((f" at {place}" for place in _places(error) if place.startswith(_PACKAGE.name)), "")
    return f"a fault in the program itself ({type(error).__name__}{place}); please report it."


def traced(error: BaseException) -> str:
    """The class and all places of the traceback, the innermost first, for a log that has room for it."""
    return f"{type(error).__name__} at {' < '.join(_places(error))}"


def _places(error: BaseException) -> Iterator[str]:
    """`file:line` of every frame, the innermost first; the paths of our own files begin at the package."""
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        lines.append((Path(traceback.tb_frame.f_code.co_filename), traceback.tb_lineno))
        traceback = traceback.tb_next
    for file, line in reversed(lines):
        is_ours = file.is_relative_to(_PACKAGE)
        yield f"{file.relative_to(_PACKAGE.parent).as_posix() if is_ours else file}:{line}"


def let_go(error: BaseException | None) -> None:
    """Forget where an error came from, once it is told: it holds whatever was worked on there, a large body
    say, and often itself, until a full run of the garbage collector."""
    for _ in range(100):
        if error is None:
            return
        error.__traceback__ = None
        error = error.__cause__ or error.__context__

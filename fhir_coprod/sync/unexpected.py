"""What is said of an error that nobody foresaw: its class and its place, never its text.

The text of such an error may hold a record, a credential or an address with a person's name in its query.
"""

from __future__ import annotations

import traceback
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def described(error: BaseException) -> str:
    """One sentence for a report, with the line of this package where it happened."""
    place = ""
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        if file.is_relative_to(_PACKAGE):
            place = f" at {file.relative_to(_PACKAGE.parent).as_posix()}:{frame.lineno}"
    return f"{type(error).__name__}{place}, which is not foreseen; please report it with this sentence."

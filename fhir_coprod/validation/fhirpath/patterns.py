"""Regular expressions, matched in time that grows with the text and never with its power.

Patterns come from definitions that somebody else wrote, and texts from anybody. A backtracking engine may
take forever on both, and only the clock can stop it; then the verdict would depend on how busy the machine
is. RE2 needs no clock. It has no look-around and no back-references: a rule that needs them is not checked.

As in PCRE and Java, which FHIRPath leans on, `.` matches every character, `$` also matches before a newline
at the end, and `\\d`, `\\w` and `\\s` mean ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import re2

from fhir_coprod.validation.fhirpath.errors import FhirPathError, Undecided, UnsupportedFhirPath

MAX_STEPS = 1_000_000_000
"""Most steps of one search: the bytes of the text, times the states of the pattern."""
MAX_SCANNED = 500_000_000
"""Most bytes that one `replaceMatches()` may look at: each match is searched for in all that is left."""

_ANYWHERE = re.compile(r"\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|\$", re.DOTALL)
"""An escaped character, a class of characters, or a `$` that means the end."""
_GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\})")


def _options(*, captures: bool) -> re2.Options:
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.never_capture = not captures
    return options


_TESTING, _REPLACING = _options(captures=False), _options(captures=True)


@lru_cache(maxsize=1024)
def _compiled(source: str, *, captures: bool = False) -> re2._Regexp[bytes]:
    text = source if captures else _with_last_newline(source)
    try:
        return re2.compile(text.encode(), _REPLACING if captures else _TESTING)
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else "it is not text"
        raise UnsupportedFhirPath(
            f"FHIRPath: the regular expression {source!r} is malformed, or needs more than RE2 has: {why}."
        ) from None


def _with_last_newline(source: str) -> str:
    """The pattern with `$` as PCRE has it; RE2 means the very end by it."""
    if "$" not in source or "\\Q" in source:
        return source
    return _ANYWHERE.sub(lambda found: r"(?:\n?\z)" if found[0] == "$" else found[0], source)


def check(source: str) -> None:
    """Raise UnsupportedFhirPath for a pattern that cannot be used."""
    _compiled(source)


def matcher(source: str, *, whole: bool = False) -> Callable[[str], bool]:
    """Whether a text holds a match, or is one, as a function. Raises UnsupportedFhirPath.

    The function raises Undecided for a text too long for the pattern.
    """
    compiled = _compiled(source)
    search = compiled.fullmatch if whole else compiled.search
    longest = MAX_STEPS // max(compiled.programsize, 1)

    def matches(text: str) -> bool:
        raw = text.encode()
        if len(raw) > longest:
            raise Undecided("its regular expression takes too many steps on a text of this length")
        return search(raw) is not None

    return matches


@lru_cache(maxsize=1024)
def _matcher(source: str, *, whole: bool) -> Callable[[str], bool]:
    return matcher(source, whole=whole)


def found(source: str, text: str, *, whole: bool = False) -> bool:
    """The same, for a pattern that may come from the data. Raises FhirPathError for one that is malformed."""
    try:
        return _matcher(source, whole=whole)(text)
    except UnsupportedFhirPath as error:
        raise FhirPathError(error.message) from None


def replaced(source: str, text: str, by: str) -> str:
    """The text with each match replaced; `$1` and `${name}` in `by` mean groups of the pattern."""
    compiled = _compiled(source, captures=True)
    raw = text.encode()
    parts = _parts(by, compiled)
    scanned = 0

    def replacement(match: re2._Match[bytes]) -> bytes:
        nonlocal scanned
        scanned += len(raw) - match.start()
        if scanned > MAX_SCANNED:
            raise Undecided("replaceMatches() finds too many matches in so long a text")
        return b"".join(part if isinstance(part, bytes) else match.group(part) or b"" for part in parts)

    if len(raw) * compiled.programsize > MAX_STEPS:
        raise Undecided("its regular expression takes too many steps on a text of this length")
    return compiled.sub(replacement, raw).decode(errors="replace")


def _parts(by: str, compiled: re2._Regexp[bytes]) -> list[bytes | int]:
    """What replaces a match: texts, and the numbers of groups."""
    parts: list[bytes | int] = []
    at = 0
    for group in _GROUP.finditer(by):
        number = int(group[1]) if group[1] else compiled.groupindex.get(group[2].encode(), -1)
        if not 0 <= number <= compiled.groups:
            raise FhirPathError("FHIRPath: replaceMatches() names a group that its pattern does not have.")
        parts += [by[at : group.start()].encode(), number]
        at = group.end()
    return [*parts, by[at:].encode()]

"""Regular expressions, matched in time that grows with the text and never with its power.

Patterns come from definitions that somebody else wrote, and texts from anybody. A backtracking engine may
take forever on both, and only the clock can stop it; then the verdict would depend on how busy the machine
is. RE2 needs no clock. It has no look-around and no back-references: for a pattern with them there is
`backtracking`, which takes short texts only.

As in PCRE and Java, which FHIRPath leans on, `.` matches every character, `\\d`, `\\w` and `\\s` mean ASCII,
and `$`, in a test, also matches before a newline at the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from string import ascii_letters, digits

import re2

from fhir_coprod.validation.fhirpath import backtracking
from fhir_coprod.validation.fhirpath.backtracking import TOO_LONG
from fhir_coprod.validation.fhirpath.errors import FhirPathError, Undecided, UnsupportedFhirPath

MAX_STEPS = 1_000_000_000
"""Most steps of one search: the bytes of the text, times the states of the pattern."""
MAX_SCANNED = 100_000_000
"""Most bytes that one `replaceMatches()` may look at: each match is searched for in all that is left."""

_ANYWHERE = re.compile(r"\\.|\[\^?\]?(?:\[:\w+:\]|\\.|[^\]\\])*\]|\$", re.DOTALL)
"""An escaped character, a class of characters, or a `$` that means the end."""
_OF_LINES = re.compile(r"\(\?[a-zA-Z]*m")
"""The flag by which `$` means the end of each line."""
_PLAIN = frozenset(ascii_letters + digits + "_^$ :/-#|")
"""Characters of patterns that repeat nothing, so that any engine is done in one go; Python's is quicker."""
_GROUP = re.compile(r"\$(?:(\d+)|\{(\w+)\})")


def _options(*, captures: bool) -> re2.Options:
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.never_capture = not captures
    return options


_TESTING, _REPLACING = _options(captures=False), _options(captures=True)


@lru_cache(maxsize=1024)
def _compiled(source: str, options: re2.Options) -> re2._Regexp[bytes]:
    try:
        return re2.compile(source.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        why = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else "it is not text"
        raise UnsupportedFhirPath(
            f"FHIRPath: the regular expression {source!r} is malformed, or needs more than RE2 has: {why}."
        ) from None


def _with_last_newline(source: str) -> str:
    """The pattern with `$` and `\\Z` as Java has them; RE2 means the very end by `$`, and has no `\\Z`."""
    if not ("$" in source or "\\Z" in source) or "\\Q" in source or _OF_LINES.search(source):
        return source
    return _ANYWHERE.sub(lambda found: r"(?:\n?\z)" if found[0] in ("$", r"\Z") else found[0], source)


def check(source: str, *, replacing: bool = False) -> None:
    """Raise UnsupportedFhirPath for a pattern that cannot be used, in a test or in `replaceMatches()`."""
    if replacing:
        _compiled(source, _REPLACING)
    else:
        _matcher(source, whole=False)


def matcher(source: str, *, whole: bool = False) -> Callable[[str], bool]:
    """Whether a text holds a match, or is one, as a function. Raises UnsupportedFhirPath.

    The function raises Undecided for a text too long for the pattern.
    """
    if _PLAIN.issuperset(source):
        plain = re.compile(source)
        test = plain.fullmatch if whole else plain.search
        return lambda text: test(text) is not None
    try:
        compiled = _compiled(source if whole else _with_last_newline(source), _TESTING)
    except UnsupportedFhirPath as unsupported:
        try:
            return backtracking.matcher(source, whole=whole)
        except (re.error, RecursionError, OverflowError):
            raise unsupported from None
    search = compiled.fullmatch if whole else compiled.search
    longest = MAX_STEPS // max(compiled.programsize, 1)

    def matches(text: str) -> bool:
        raw = text.encode()
        if len(raw) > longest:
            raise Undecided(TOO_LONG)
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
    compiled = _compiled(source, _REPLACING)
    raw = text.encode()
    parts = _parts(by, compiled)
    scanned = 0

    def replacement(match: re2._Match[bytes]) -> bytes:
        nonlocal scanned
        begin, end = match.span()
        if begin == end < len(raw) and raw[begin] & 0xC0 == 0x80:
            return b""  # nothing matches here, inside of a character of several bytes
        scanned += len(raw) - begin
        if scanned > MAX_SCANNED:
            raise Undecided("replaceMatches() finds too many matches in so long a text")
        return b"".join(part if isinstance(part, bytes) else match.group(part) or b"" for part in parts)

    if len(raw) * compiled.programsize > MAX_STEPS:
        raise Undecided(TOO_LONG)
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

"""Normalises values for the search index: the same for a resource's element and for a searched value.

Text is folded (case, accents, punctuation, runs of space) and long text is cut so that an index can hold it;
a date becomes the range of time it may mean, a number the range its digits cover.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from string import punctuation
from typing import NamedTuple

from fhir_coprod.errors import BadRequest
from fhir_coprod.instants import to_microseconds
from fhir_coprod.remembering import remembering_short

MAX_TEXT = 200
"""How many characters of a text the index holds; PostgreSQL's B-trees take 2,704 bytes a row."""

FIRST = -(2**62)
LAST = 2**62
"""Mean "any time before" and "any time after": an open end of a Period."""


class Range(NamedTuple):
    """Half-open: low ≤ x < high."""

    low: int
    high: int


_ASCII_PUNCTUATION = str.maketrans("", "", punctuation)


# The same few displays and names come again and again; long texts do not.
@remembering_short(16_384, 63)
def fold(text: str) -> str:
    """The form in which texts are compared by default: no case, accents or punctuation, and single spaces.

    https://hl7.org/fhir/R4/search.html#string. A text that is only punctuation keeps it.
    """
    if text.isascii():
        plain = text.lower()
        if not plain.replace(" ", "").isalnum():
            plain = plain.translate(_ASCII_PUNCTUATION)
    else:
        decomposed = unicodedata.normalize("NFKD", text.casefold())
        plain = "".join(c for c in decomposed if unicodedata.category(c)[0] not in "MP")
    return (" ".join(plain.split()) or text.casefold())[:MAX_TEXT]


def cut(text: str) -> str:
    """The text, or, if it is too long for an index, its beginning and a digest of all: equal stays equal."""
    if len(text) <= MAX_TEXT:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{text[: MAX_TEXT - 33]} {digest}"


# --------------------------------------------------------------------------------------------------- dates

_DATE = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(Z|[+-]\d\d:\d\d)?)?)?)?"
)
_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()


@remembering_short(16_384, 64)
def time_meant(text: str) -> Range | None:
    """The time that a FHIR date, dateTime or instant may mean, in microseconds since 1970 UTC.

    2013 is the whole year, 2013-01-14T10:00 the whole minute. Without a time zone it is read as UTC. None
    when the text is not a date.
    """
    if len(text) in (20, 25) and text[10] == "T" and text[7] == "-":
        return _second(text) or _by_parts(text)
    return _by_parts(text)


def _second(text: str) -> Range | None:
    """The most common form, to the second and with a zone, read by C; None for any other form."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None or text[13] != ":" or text[19] not in "Z+-":
        return None
    low = to_microseconds(when)
    return Range(low, low + 1_000_000)


def _by_parts(text: str) -> Range | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        first = date(int(year), int(month or 1), int(day or 1)).toordinal()
        if day is None:
            return Range((first - _EPOCH) * _DAY, (_after(int(year), int(month or 0)) - _EPOCH) * _DAY)
        low = (first - _EPOCH) * _DAY
        if hour is None:
            return Range(low, low + _DAY)
        if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 60:
            return None
    except ValueError:
        return None
    # A leap second (:60) is a legal instant. It is the end of its own minute, and of its own day.
    leaps = second == "60"
    low += ((int(hour) * 60 + int(minute)) * 60 + (59 if leaps else int(second or 0))) * 1_000_000
    width = 60_000_000 if second is None else 1_000_000
    if fraction:
        digits = fraction[:6]
        low += int(digits.ljust(6, "0"))
        width = 10 ** (6 - len(digits))
    if leaps:
        low, width = low - low % 1_000_000 + 999_999, 1
    if zone and zone != "Z":
        offset = (int(zone[1:3]) * 60 + int(zone[4:6])) * 60_000_000
        low += -offset if zone[0] == "+" else offset
    return Range(low, low + width)


def _after(year: int, month: int) -> int:
    """The ordinal of the first day after a year (month 0) or month."""
    if month in (0, 12):
        return date(year, 12, 31).toordinal() + 1
    return date(year, month + 1, 1).toordinal()


# ------------------------------------------------------------------------------------------------- numbers


class Digits(NamedTuple):
    """A searched number: its value, and how far its last digit reaches to either side."""

    value: Decimal
    half: Decimal


_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


def digits(text: str, place: str) -> Digits:
    """The number a client wrote: 100 means 99.5 up to 100.5, 100.00 means 99.995 up to 100.005.

    https://hl7.org/fhir/R4/search.html#number. BadRequest when it is not a number.
    """
    if not _NUMBER.fullmatch(text):
        raise BadRequest(f"{place}: not a number; write for instance 5.4, 100 or 1e2.")
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadRequest(f"{place}: not a number; write for instance 5.4, 100 or 1e2.") from None
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return Digits(value, Decimal(5).scaleb(exponent - 1))

"""Formats of primitive values: what each FHIR type accepts in JSON (https://hl7.org/fhir/R4/datatypes.html).

`ACCEPTS[type](value)` answers yes or no; `EXPECTED[type]` is the half sentence that a message gives when the
answer is no. Both tiers of the validator use these functions.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from datetime import date
from math import inf

from fhir_coprod.jsontext import ID_PATTERN

MAX_STRING = 1_048_576
"""In characters; FHIR: strings SHALL NOT exceed 1 MB."""
BOUNDS = {"integer": (-(2**31), 2**31 - 1), "positiveInt": (1, 2**31 - 1), "unsignedInt": (0, 2**31 - 1)}
"""The smallest and largest whole number of each type."""

_YEAR = r"(?:[0-9](?:[0-9](?:[0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
_DAY = rf"({_YEAR})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

_date = re.compile(rf"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?|{_DAY}").fullmatch
_date_time = re.compile(rf"{_YEAR}(?:-(?:0[1-9]|1[0-2]))?|{_DAY}(?:T{_CLOCK}{_ZONE})?").fullmatch
_instant = re.compile(rf"{_DAY}T{_CLOCK}{_ZONE}").fullmatch
_time = re.compile(_CLOCK).fullmatch
_id = re.compile(ID_PATTERN).fullmatch
_code = re.compile(r"\S+(?: \S+)*").fullmatch
_oid = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+").fullmatch
_uuid = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_no_space = re.compile(r"\S+").fullmatch
_absolute = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:").match
_control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]").search
_space = re.compile(r"[ \r\n\t]+")


def _real_day(match: re.Match[str] | None) -> bool:
    """Whether a matched date is in the calendar: 30 February is not. A match without a day is fine."""
    if match is None:
        return False
    year, month, day = match.group(1, 2, 3)
    if day is None or day < "29":
        return True
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def is_boolean(value: object) -> bool:
    return value is True or value is False


def _whole(low: int, high: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and low <= value <= high


def is_decimal(value: object) -> bool:
    """JSON has no NaN and no infinity, but dicts of programs may."""
    return type(value) is int or (type(value) is float and -inf < value < inf)


def is_string(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= MAX_STRING


def is_doubtful(value: str) -> bool:
    """Whether an accepted text is probably a mistake: only spaces, or control characters, which FHIR forbids.

    HL7's validator lets both pass with a warning, so such records exist.
    """
    return value.isspace() or _control(value) is not None


def is_code(value: object) -> bool:
    if type(value) is not str:
        return False
    return value.isalnum() or _code(value) is not None


def is_id(value: object) -> bool:
    return type(value) is str and _id(value) is not None


def is_uri(value: object) -> bool:
    if type(value) is not str or _no_space(value) is None:
        return False
    if value.startswith("urn:"):
        if value.startswith("urn:oid:"):
            return _oid(value) is not None
        if value.startswith("urn:uuid:"):
            return _uuid(value) is not None
    return not value.startswith(("oid:", "uuid:"))


def is_canonical(value: object) -> bool:
    return type(value) is str and is_uri(value) and (_absolute(value) is not None or value[0] == "#")


def is_absolute(uri: str) -> bool:
    """Whether a URI has a scheme."""
    return _absolute(uri) is not None


def is_oid(value: object) -> bool:
    return type(value) is str and _oid(value) is not None


def is_uuid(value: object) -> bool:
    return type(value) is str and _uuid(value) is not None


def is_date(value: object) -> bool:
    return type(value) is str and _real_day(_date(value))


def is_date_time(value: object) -> bool:
    return type(value) is str and _real_day(_date_time(value))


def is_instant(value: object) -> bool:
    return type(value) is str and _real_day(_instant(value))


def is_time(value: object) -> bool:
    return type(value) is str and _time(value) is not None


def is_base64(value: object) -> bool:
    if type(value) is not str or not value:
        return False
    try:
        binascii.a2b_base64(_space.sub("", value), strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return True


ACCEPTS: dict[str, Callable[[object], bool]] = {
    "base64Binary": is_base64,
    "boolean": is_boolean,
    "canonical": is_canonical,
    "code": is_code,
    "date": is_date,
    "dateTime": is_date_time,
    "decimal": is_decimal,
    "id": is_id,
    "instant": is_instant,
    "integer": _whole(*BOUNDS["integer"]),
    "markdown": is_string,
    "oid": is_oid,
    "positiveInt": _whole(*BOUNDS["positiveInt"]),
    "string": is_string,
    "time": is_time,
    "unsignedInt": _whole(*BOUNDS["unsignedInt"]),
    "uri": is_uri,
    "url": is_uri,
    "uuid": is_uuid,
    "xhtml": is_string,
}

EXPECTED: dict[str, str] = {
    "base64Binary": "base64 text",
    "boolean": "true or false without quotation marks",
    "canonical": "an absolute canonical URL without spaces, or # and an id",
    "code": "a code: no spaces at either end, single spaces between",
    "date": "a real date as YYYY, YYYY-MM or YYYY-MM-DD",
    "dateTime": "a real date as YYYY, YYYY-MM or YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss with Z or a zone",
    "decimal": "a number without quotation marks",
    "id": "1 to 64 letters, digits, - or .",
    "instant": "a real moment as YYYY-MM-DDThh:mm:ss and a zone (Z or +hh:mm)",
    "integer": "a whole number between -2147483648 and 2147483647, without quotation marks",
    "markdown": "text that is not empty and at most 1 MB",
    "oid": "an OID as urn:oid:1.2.3",
    "positiveInt": "a whole number from 1 to 2147483647, without quotation marks",
    "string": "text that is not empty and at most 1 MB",
    "time": "a time as hh:mm:ss",
    "unsignedInt": "a whole number from 0 to 2147483647, without quotation marks",
    "uri": "a URI without spaces (an OID as urn:oid:1.2.3, a UUID as urn:uuid: in lower case)",
    "url": "a URL without spaces",
    "uuid": "a UUID as urn:uuid: and lower-case hexadecimal digits",
    "xhtml": "an XHTML <div>",
}

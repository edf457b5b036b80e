"""Decodes JSON into Python values and encodes them again; the limits of ids and depth."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from typing import Any

import msgspec

from fhir_coprod.errors import NotJson

MAX_DEPTH = 64
"""Nesting beyond this is refused; real FHIR stays under 25."""

TOO_DEEP = f"The JSON nests deeper than {MAX_DEPTH} levels; flatten it."

ID_PATTERN = r"[A-Za-z0-9\-.]{1,64}"
"""A logical id (https://hl7.org/fhir/R4/datatypes.html#id)."""

Json = dict[str, Any]

decode_valid = msgspec.json.Decoder().decode
"""Decodes text that is known to be valid JSON."""
decode_decimals = msgspec.json.Decoder(float_hook=Decimal).decode
"""The same, with each number that has a point or an exponent as a `Decimal`: 19.00 keeps its digits."""
_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(value: Any) -> bytes:
    """Compact JSON bytes."""
    return _encode(value)


def decode(raw: bytes | str) -> Any:
    """Any JSON value, without the checks of `parse`."""
    try:
        if len(raw) <= _LONG:
            return decode_valid(raw)
        with uncollected(raw):
            return decode_valid(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotJson(_reason(raw, error)) from None


def uncollected(raw: bytes | str) -> AbstractContextManager[None]:
    """Keep the garbage collector from looking through a million values, as they are made and afterwards.

    All threads would wait for it, a second for a million objects, again and again. Values from JSON have no
    cycles, so it has nothing to find in them. See `collected_again`.
    """
    return _uncollected() if len(raw) > _LONG and gc.isenabled() else _AS_USUAL


@contextmanager
def _uncollected() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collected_again() -> None:
    """Let the garbage collector look through all objects again: for when no large values are held any more.

    What was garbage while they were made would stay for ever otherwise.
    """
    gc.unfreeze()


_LONG = 1_000_000
_AS_USUAL = nullcontext()


_OTHER_FORMATS = (
    (b"\x1f\x8b", "it is compressed (gzip); unpack it first"),
    (b"PK\x03\x04", "it is a ZIP archive; unpack it first"),
    (b"\xff\xfe", "it is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16; save it as UTF-8"),
    (b"<", "it looks like XML or HTML; only JSON is read"),
)
"""The first bytes of other formats that people send by mistake, and what to do about it."""


def _reason(raw: bytes | str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return TOO_DEEP
    start = raw[:100].encode(errors="replace") if isinstance(raw, str) else bytes(raw[:100])
    if not start.strip():
        return "This is not valid JSON: it is empty; send one FHIR resource."
    for mark, advice in _OTHER_FORMATS:
        if start.lstrip().startswith(mark):
            return f"This is not valid JSON: {advice}."
    if "out of range" in str(error):
        return (
            "A number is out of range: this is JSON, but FHIR's numbers are read here as far as 1.7E308; send"
            " it smaller."
        )
    if isinstance(error, UnicodeError):
        return "This is not UTF-8; send JSON encoded as UTF-8."
    return f"This is not valid JSON: {error}."

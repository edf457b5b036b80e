"""The chain of hashes: each row's hash covers the row, what it is about, and the hash of the row before."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

SIZE: Final = 20
START: Final = bytes(SIZE)
"""What stands before the first row of a chain."""
_encode = msgspec.msgpack.Encoder().encode

Row = tuple[Any, ...]


def link(previous: bytes, call: Sequence[Any], resources: Sequence[Sequence[Any]]) -> bytes:
    """The hash of a row of audit_call.

    previous: the hash of the row before, `START` for the first
    call: its columns but the hash, in the order of the table
    resources: its whole rows of audit_resource, by place
    """
    return blake2b(previous + _encode((call, resources)), digest_size=SIZE).digest()


class Head(NamedTuple):
    """The end of a chain.

    number: of its newest row, 0 if there is none
    """

    chain: str
    number: int = 0
    hash: bytes = START


def new_chain() -> Head:
    """The beginning of a chain that nobody else has."""
    return Head(secrets.token_hex(8))


def month_of(milliseconds: int) -> int:
    """The month of a time, in UTC, such as 202612."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.year * 100 + at.month


def month_after(month: int) -> int:
    """The month that follows: 202612 → 202701."""
    return month + 1 if month % 100 < 12 else (month // 100 + 1) * 100 + 1

"""Checksums of rows, written with them: by these `db check` tells what is no longer as it was written.

The content hash of a version would not do. It leaves out id and meta, it may be a name instead (see
`prepared.py`), and the received bytes have none. A seal covers every column of its row. It is no proof
against somebody who alters the store on purpose and makes the seals to go with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import msgspec

_encode = msgspec.msgpack.Encoder().encode

NONE = 0
"""The seal of no marks at all."""


def seal(values: Iterable[Any]) -> int:
    """The seal of a row, from its other columns in the order of the table: 64 bits, signed."""
    return int.from_bytes(blake2b(_encode(tuple(values)), digest_size=8).digest(), signed=True)


def of_marks(rows: Iterable[Iterable[Any]]) -> int:
    """The seal of all marks of one resource, from the whole rows of table quality; NONE if there are none."""
    known = sorted(tuple(row) for row in rows)
    return seal(known) if known else NONE

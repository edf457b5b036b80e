"""What the store hands out: `Version`, one version of one resource, and `Written`, what a write came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json

Method = Literal["create", "update", "delete"]
Change = Literal["created", "updated", "unchanged", "deleted"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def to_milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970 UTC; what is finer is cut off."""
    return (moment - _EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    """The aware UTC time of so many milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=value)


# A Struct, as one is made for each row that is read: a frozen dataclass takes many times as long.
class Version(msgspec.Struct, frozen=True, dict=True):
    """One version of one resource, as the log has it.

    position:     its place in the log; 0 inside a transaction that has not been committed
    milliseconds: meta.lastUpdated, since 1970 UTC
    method:       the interaction that made it
    body:         what a read returns, with id, meta.versionId and meta.lastUpdated; empty when deleted
    hash:         content hash without id and meta, or a name for the content (see `prepared.py`); empty when
                  deleted
    source:       "" for a client or file, "ehr:NAME", "watch"
    """

    type: str
    id: str
    version: int
    position: int
    milliseconds: int
    method: Method
    body: bytes
    hash: str
    source: str

    @property
    def updated(self) -> datetime:
        """meta.lastUpdated, aware UTC, whole milliseconds."""
        return from_milliseconds(self.milliseconds)

    @property
    def deleted(self) -> bool:
        return self.method == "delete"

    @property
    def reference(self) -> str:
        """Such as `Patient/123`."""
        return f"{self.type}/{self.id}"

    @property
    def etag(self) -> str:
        """The weak ETag of this version."""
        return f'W/"{self.version}"'

    @cached_property
    def data(self) -> Json:
        """The body as values, parsed at first use; empty when deleted. Not to be changed in place."""
        return jsontext.decode(self.body) if self.body else {}


COLUMNS = "v.type, v.id, v.version, v.position, v.updated, v.method, v.body, v.hash, v.source"
"""The columns of table version (as v) that `from_row` takes, in order."""


def from_row(row: Sequence[Any]) -> Version:
    """A row of COLUMNS as a Version."""
    return Version(*row)


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to: the version that now stands, and whether it is new."""

    version: Version
    change: Change

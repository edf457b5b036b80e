"""`Version`, one version of a resource as the store returns it, and `Written`, the result of a write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import msgspec
from msgspec.structs import force_setattr

from fhir_coprod import jsontext
from fhir_coprod.errors import Damaged, NotJson
from fhir_coprod.instants import from_milliseconds, last_updated
from fhir_coprod.jsontext import Json

_DAMAGED = (
    "{}, version {}, is damaged in the database. fhir-coprod db check says what else is; restore the backup:"
    " docs/operations.md#restore."
)
Method = Literal["create", "update", "delete"]
Change = Literal["created", "updated", "unchanged", "deleted"]


# A Struct, since one is made for each row that is read: a frozen dataclass takes many times as long.
class Version(msgspec.Struct, frozen=True, dict=True):
    """One version of one resource, as it is in the log.

    position:     its place in the log; 0 inside a transaction that has not been committed
    milliseconds: meta.lastUpdated, since 1970 UTC
    method:       the interaction that made it
    body:         what a read returns, with id, meta.versionId and meta.lastUpdated; empty when deleted
    hash:         content hash without id and meta, or a name for the content (see `prepared.py`); empty when
                  deleted
    source:       "" for a client or file, "ehr:NAME", "watch", "sync"; "retired:…" where it was given up
    for another
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

    def date(self, milliseconds: int) -> None:
        """Give it another time, in its body as well; only for the writer, before anybody else has seen it."""
        if self.body:
            before, after = (_stamp(each) for each in (self.milliseconds, milliseconds))
            # The store's own stamp is the first: only type, id and version number stand before it.
            force_setattr(self, "body", self.body.replace(before, after, 1))
            self.__dict__.pop("data", None)
        force_setattr(self, "milliseconds", milliseconds)

    @cached_property
    def data(self) -> Json:
        """The body as values, parsed on first use; empty when deleted. Do not change it in place."""
        if not self.body and self.deleted:
            return {}
        return stored(self.body, self.type, self.id, self.version)


def stored(body: bytes, type: str, id: str, version: int) -> Json:
    """The body of a version as values. Raises Damaged if it is no resource: such a one was never stored."""
    try:
        data = jsontext.decode(body)
    except NotJson as error:
        raise Damaged(_DAMAGED.format(f"{type}/{id}", version)) from error
    if not isinstance(data, dict):
        raise Damaged(_DAMAGED.format(f"{type}/{id}", version))
    return data


def _stamp(milliseconds: int) -> bytes:
    return b'"lastUpdated":"%b"' % last_updated(from_milliseconds(milliseconds)).encode()


COLUMNS = "v.type, v.id, v.version, v.position, v.updated, v.method, v.body, v.hash, v.source"
"""The columns of table version (as v) that `from_row` takes, in order."""


def from_row(row: Sequence[Any]) -> Version:
    """A row of COLUMNS as a Version."""
    return Version(*row)


@dataclass(frozen=True, slots=True)
class Written:
    """The result of a write: the version that is now the newest, and whether it is new."""

    version: Version
    change: Change

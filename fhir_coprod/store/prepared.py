"""Prepares a resource for writing before its transaction begins: splits, hashes and indexes its text once.

Only the version number and the time are missing. Adding them is quick, so other writers hardly have to wait.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.instants import last_updated
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import index
from fhir_coprod.store.entries import IndexRows
from fhir_coprod.store.labels import UNREADABLE
from fhir_coprod.store.quality import Marks
from fhir_coprod.store.versions import Version

_STAMPS = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")
"""Members of meta that the store writes itself; all others come from the sender and are kept."""
_NAME = "~"
"""The prefix that tells a name from a hash."""


@dataclass(frozen=True)
class Prepared:
    """One resource, ready to be written.

    start:    its text up to the id
    meta:     its meta without the store's own stamps
    rest:     its text after meta
    hash:     its content hash, or its name (see `named`)
    received: the bytes that it was made from
    rows:     its rows in the search index
    marks:    what is wrong in it, if it is kept although it is not valid
    """

    type: str
    id: str
    start: bytes
    meta: Json
    rest: bytes
    hash: str
    received: bytes
    rows: IndexRows
    marks: Marks = ()

    def body(self, number: int, updated: datetime) -> bytes:
        """The bytes that a read of this version returns."""
        meta = {"versionId": str(number), "lastUpdated": last_updated(updated), **self.meta}
        return self.start + b',"meta":' + jsontext.encode(meta) + self.rest

    def is_said_by(self, version: Version) -> bool:
        """Whether the version already has this content, however it is written in JSON, and the same meta."""
        if version.deleted:
            return False
        if self.hash == version.hash or (
            is_name(self.hash) != is_name(version.hash) and self._plain_hash == plain_hash(version)
        ):
            return kept_meta(version.data) == self.meta
        # The same content may have two names; then its text is usually the same, too.
        return self.body(version.version, version.updated) == version.body

    @cached_property
    def _plain_hash(self) -> str:
        if not is_name(self.hash):
            return self.hash
        return jsontext.content_hash(Document(self.start + self.rest, {}))


def prepare(document: Document, id: str, meta: Json, *, hash: str = "", marks: Marks = ()) -> Prepared:
    """Prepare the content of `document` under an id, with `meta` instead of its own.

    hash: its name, if it has one; otherwise the content is hashed
    """
    type = document.type
    start = b'{"resourceType":' + jsontext.encode(type) + b',"id":' + jsontext.encode(id)
    text = document.spliced(id, None)
    assert text.startswith(start)
    rows = index.rows(type, {**document.data, "meta": meta}, is_sound=not marks)
    if not isinstance(document.data.get("meta", {}), dict):
        # Nobody can tell which labels it had.
        rows[index.LABELS] = {(number | UNREADABLE,) for (number,) in rows[index.LABELS]}
    return Prepared(
        type,
        id,
        start,
        meta,
        text[len(start) :],
        hash or document.hash,
        document.received or document.raw,
        rows,
        marks,
    )


def named(hash: str, changes: Mapping[str, Any]) -> str:
    """A name for content, made from the hash of its original and the changes made to that since.

    The same name means the same content, so nobody needs to hash the changed content.
    """
    said = hash.encode() + jsontext.encode(sorted(changes.items()))
    return _NAME + hashlib.sha256(said).hexdigest()


def is_name(hash: str) -> bool:
    return hash.startswith(_NAME)


def plain_hash(version: Version) -> str:
    """The content hash of a version, even if it was written under a name."""
    return jsontext.content_hash(Document(version.body, {})) if is_name(version.hash) else version.hash


def kept_meta(data: Json) -> Json:
    """The meta of a resource without the store's own stamps."""
    meta = data.get("meta")
    if not isinstance(meta, dict):
        return {}
    return {name: value for name, value in meta.items() if name not in _STAMPS}

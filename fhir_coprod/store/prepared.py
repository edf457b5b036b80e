"""Content made ready to be written before any transaction begins: cut, hashed and indexed, once.

Only its number and its time are missing; to add them takes moments, and nobody else has to wait longer.
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
from fhir_coprod.store.index import IndexRows
from fhir_coprod.store.versions import Version

_STAMPS = ("versionId", "lastUpdated", "_versionId", "_lastUpdated")
"""Members of meta that the store writes itself; all others are the sender's and kept."""
_NAME = "~"
"""Begins a hash that is a name."""


@dataclass(frozen=True)
class Prepared:
    """One resource, ready to be written.

    start:    its text up to the id
    meta:     what stands in meta beside the store's own stamps
    rest:     its text behind meta
    hash:     its content hash, or its name (see `named`)
    received: the bytes from which it was made
    rows:     its rows in the search index
    """

    type: str
    id: str
    start: bytes
    meta: Json
    rest: bytes
    hash: str
    received: bytes
    rows: IndexRows

    def body(self, number: int, updated: datetime) -> bytes:
        """What a read of that version returns."""
        meta = {"versionId": str(number), "lastUpdated": last_updated(updated), **self.meta}
        return self.start + b',"meta":' + jsontext.encode(meta) + self.rest

    def is_said_by(self, version: Version) -> bool:
        """Whether that version has this content already, whatever its spelling, and the same meta."""
        if version.deleted:
            return False
        if self.hash == version.hash or (
            is_name(self.hash) != is_name(version.hash) and self._plain_hash == plain_hash(version)
        ):
            return kept_meta(version.data) == self.meta
        # Two names may be given to one content; then most often its text is the same, too.
        return self.body(version.version, version.updated) == version.body

    @cached_property
    def _plain_hash(self) -> str:
        if not is_name(self.hash):
            return self.hash
        return jsontext.content_hash(Document(self.start + self.rest, {}))


def prepare(document: Document, id: str, meta: Json, *, hash: str = "") -> Prepared:
    """The content of `document` under an id, with `meta` instead of its own.

    hash: its name, where it has one; else the content is hashed.
    """
    type = document.type
    start = b'{"resourceType":' + jsontext.encode(type) + b',"id":' + jsontext.encode(id)
    text = document.spliced(id, None)
    assert text.startswith(start)
    return Prepared(
        type,
        id,
        start,
        meta,
        text[len(start) :],
        hash or document.hash,
        document.received or document.raw,
        index.rows(type, {**document.data, "meta": meta}),
    )


def named(hash: str, changes: Mapping[str, Any]) -> str:
    """A name for the content that comes of what was hashed and of what was changed in it since.

    The same name means the same content; whoever knows both need not hash a second time.
    """
    said = hash.encode() + jsontext.encode(sorted(changes.items()))
    return _NAME + hashlib.sha256(said).hexdigest()


def is_name(hash: str) -> bool:
    return hash.startswith(_NAME)


def plain_hash(version: Version) -> str:
    """The content hash of a version, also where it was written under a name."""
    return jsontext.content_hash(Document(version.body, {})) if is_name(version.hash) else version.hash


def kept_meta(data: Json) -> Json:
    """What stands in the meta of a resource beside the store's own stamps."""
    meta = data.get("meta")
    if not isinstance(meta, dict):
        return {}
    return {name: value for name, value in meta.items() if name not in _STAMPS}

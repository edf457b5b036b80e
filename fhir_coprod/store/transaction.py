"""What a piece of work may do in its transaction: read, create, put, delete, search, and move cursors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Connection

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, Conflict, PreconditionFailed
from fhir_coprod.instants import last_updated, to_milliseconds
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import guarded, index
from fhir_coprod.store.batch import Batch, Newest, Pending, Reference
from fhir_coprod.store.database import Session
from fhir_coprod.store.entries import IndexRows
from fhir_coprod.store.prepared import Prepared, kept_meta, plain_hash
from fhir_coprod.store.quality import Marks
from fhir_coprod.store.schema import core
from fhir_coprod.store.versions import (
    COLUMNS,
    Method,
    Version,
    Written,
    from_row,
)

if TYPE_CHECKING:
    from fhir_coprod.store.search.query import Query
    from fhir_coprod.store.search.run import Page
    from fhir_coprod.store.search.sight import Sight

_ID = re.compile(jsontext.ID_PATTERN)
_MILLISECOND = timedelta(milliseconds=1)
_LONGEST_LEASE = 120_000
"""Milliseconds; nobody takes a lease for longer."""


def check_id(id: str) -> None:
    """BadRequest unless `id` may be a logical id (https://hl7.org/fhir/R4/datatypes.html#id)."""
    if not _ID.fullmatch(id):
        raise BadRequest(
            "A resource id has 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'; choose another id."
        )


class Transaction:
    """The store as one piece of work sees it; valid only while the work runs."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._own: dict[Reference, Newest] = {}
        self._pending: list[Pending] = []
        self._notes: list[Any] = []
        self._savepoint = False
        self._new_types: set[str] = set()
        self.now: datetime = batch.clock()
        """The time of this work, aware UTC, whole milliseconds."""

    # ------------------------------------------------------------------------------------------- reading

    @property
    def connection(self) -> Connection:
        """The SQLAlchemy connection of this transaction, for tables of other floors.

        It does not show resources written by this work before the work commits; use `get` or `search` for
        those.
        """
        self._protect()
        return self._batch.connection

    @property
    def session(self) -> Session:
        """The raw side of `connection`, for the store's own tables."""
        self._protect()
        return self._batch.session

    def get(self, type: str, id: str) -> Version | None:
        """The newest version, which may be a deletion; None if there never was such a resource."""
        held = self._held((type, id))
        return held.version if held else None

    def history(self, type: str, id: str) -> Iterator[Version]:
        """All versions of a resource, newest first, without those that this work itself has written."""
        self._protect()
        rows = self._batch.session.rows(
            f"SELECT {COLUMNS} FROM version v WHERE v.type = ? AND v.id = ? ORDER BY v.version DESC",  # noqa: S608
            (type, id),
        )
        return (from_row(row) for row in rows)

    def fetch(self, references: Iterable[Reference]) -> None:
        """Read many (type, id) at once, so that `get`, `put` and `delete` of them need no further query."""
        self._batch.fetch(references)

    def newest(self, type: str, ids: Sequence[str]) -> dict[str, Version]:
        """The newest versions, deleted or not, of those ids that there ever were."""
        self.fetch([(type, id) for id in ids])
        found = ((id, self.get(type, id)) for id in ids)
        return {id: version for id, version in found if version is not None}

    def search(self, query: Query) -> Page:
        """Search, including this work's own writes; nobody else can write until this transaction ends."""
        from fhir_coprod.store.search.run import run

        self.lock()
        self._protect()
        self._flush()
        return run(self._batch.session, query)

    def seen(self, sight: Sight, references: Iterable[str]) -> frozenset[str]:
        """Which of these references (`Type/id`) lead to what is in sight, with this work's own writes."""
        from fhir_coprod.store import seeing

        self.lock()
        self._protect()
        self._flush()
        return seeing.references(self._batch.session, sight, references)

    def lock(self) -> None:
        """Keep others from writing until this transaction ends: use it if a write depends on reads through
        `connection`."""
        self._batch.lock()

    def _held(self, reference: Reference) -> Newest | None:
        return self._own.get(reference) or self._batch.held(reference)

    # ------------------------------------------------------------------------------------------- writing

    def create(
        self,
        document: Document,
        *,
        id: str | None = None,
        source: str = "",
        marks: Marks = (),
    ) -> Written:
        """Create a resource; without `id` it gets a new UUID.

        marks: what is wrong in it, if it is kept although it is not valid
        Raises Conflict when a resource with that id exists and is not deleted.
        """
        type = _type(document)
        if id is None:
            return self._write(document, type, str(uuid4()), None, "create", source, marks)
        check_id(id)
        held = self._held((type, id))
        if held and not held.version.deleted:
            raise _exists(type, id)
        return self._write(document, type, id, held, "create", source, marks)

    def put(
        self,
        document: Document,
        id: str,
        *,
        if_match: int | None = None,
        meta: Json | None = None,
        source: str = "",
        marks: Marks = (),
    ) -> Written:
        """Make this the content of (type, id): updated, created, or, when it differs in nothing but id,
        meta.versionId and meta.lastUpdated, unchanged, which makes no version.

        if_match: the version that must be the newest one. Raises PreconditionFailed otherwise.
        meta:     replaces the document's own meta; the received bytes stay as they were.
        marks:    what is wrong in it, if it is kept although it is not valid.
        """
        type = _type(document)
        check_id(id)
        held = self._held((type, id))
        self._check_match(type, id, held, if_match)
        return self._write(document, type, id, held, "update", source, marks, meta)

    def put_prepared(
        self,
        prepared: Prepared,
        *,
        method: Method = "update",
        if_match: int | None = None,
        source: str = "",
    ) -> Written:
        """As `put` or `create`, of what was prepared before this transaction began."""
        held = self._held((prepared.type, prepared.id))
        self._check_match(prepared.type, prepared.id, held, if_match)
        if method == "create" and held and not held.version.deleted:
            raise _exists(prepared.type, prepared.id)
        if held and prepared.is_said_by(held.version):
            return Written(held.version, "unchanged")
        number = held.version.version + 1 if held else 1
        updated = self._later_than(held) if held else self.now
        version = Version(
            prepared.type,
            prepared.id,
            number,
            0,
            to_milliseconds(updated),
            method,
            prepared.body(number, updated),
            prepared.hash,
            source,
        )
        self._remember(version, prepared.received, prepared.rows, held, prepared.marks)
        return Written(version, "updated" if held and not held.version.deleted else "created")

    def delete(self, type: str, id: str, *, if_match: int | None = None, source: str = "") -> Written | None:
        """Delete; None when there is nothing (left) to delete. History and log keep all versions."""
        held = self._held((type, id))
        self._check_match(type, id, held, if_match)
        if held is None or held.version.deleted:
            return None
        version = Version(
            type,
            id,
            held.version.version + 1,
            0,
            to_milliseconds(self._later_than(held)),
            "delete",
            b"",
            "",
            source,
        )
        self._remember(version, b"", {}, held)
        return Written(version, "deleted")

    def _write(
        self,
        document: Document,
        type: str,
        id: str,
        held: Newest | None,
        method: Method,
        source: str,
        marks: Marks,
        own_meta: Json | None = None,
    ) -> Written:
        number = held.version.version + 1 if held else 1
        updated = self._later_than(held) if held else self.now
        kept = kept_meta(document.data if own_meta is None else {"meta": own_meta})
        meta = {"versionId": str(number), "lastUpdated": last_updated(updated), **kept}
        body = document.spliced(id, meta)
        content = Document(body, jsontext.decode(body)) if own_meta is not None else document
        if held and not held.version.deleted and _is_same(held.version, content, kept):
            return Written(held.version, "unchanged")
        version = Version(type, id, number, 0, to_milliseconds(updated), method, body, content.hash, source)
        rows = index.rows(type, content.data, is_sound=not marks)
        self._remember(version, document.received or document.raw, rows, held, marks)
        return Written(version, "updated" if held and not held.version.deleted else "created")

    def _remember(
        self, version: Version, received: bytes, rows: IndexRows, held: Newest | None, marks: Marks = ()
    ) -> None:
        self._pending.append(Pending(version, received, rows, marks))
        self._own[version.type, version.id] = Newest(version, held.key if held else 0)

    def marks(self, type: str, id: str) -> Marks:
        """What is wrong in the newest version; empty when nothing is."""
        for pending in reversed(self._pending):
            if (pending.version.type, pending.version.id) == (type, id):
                return pending.marks
        self._protect()
        return self._batch.marks((type, id))

    def remark(self, judged: Sequence[tuple[Version, Marks]]) -> None:
        """Replace the marks of these versions, those that are still the newest: the rules have changed, not
        the resources. Makes no version."""
        self.lock()
        self._protect()
        self._batch.remark(judged)

    def _later_than(self, held: Newest) -> datetime:
        """Now, or just after the last version if the clock has stopped or gone back."""
        return max(self.now, held.version.updated + _MILLISECOND)

    def _check_match(self, type: str, id: str, held: Newest | None, if_match: int | None) -> None:
        if if_match is None:
            return
        if held is None or held.version.deleted:
            raise PreconditionFailed(
                f"If-Match names version {if_match}, but there is no {type}/{id}; read before you write."
            )
        if held.version.version != if_match:
            raise PreconditionFailed(
                f"If-Match names version {if_match}, but {type}/{id} is at version {held.version.version};"
                " read it again, apply your change to that, and send it with its ETag."
            )

    # ------------------------------------------------------------------------------------------- cursors

    def set_cursor(self, name: str, position: int) -> None:
        """Remember how far the follower `name` has come, together with whatever else this work writes."""
        self._protect()
        guarded.put(self._batch.connection, core.cursor, [(name, position)])

    def drop_cursor(self, name: str) -> None:
        """Forget that there was such a follower."""
        self._protect()
        guarded.take_all(self._batch.connection, core.cursor, name)

    def cursor(self, name: str) -> int:
        """The position that the follower `name` has reached; 0 when it is new."""
        rows = self._batch.session.rows("SELECT position FROM cursor WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else 0

    def set_setting(self, name: str, value: str) -> None:
        """Remember something that the store needs to know about itself."""
        self._protect()
        guarded.put(self._batch.connection, core.setting, [(name, value)])

    def drop_setting(self, name: str) -> None:
        """Forget it."""
        self._protect()
        guarded.take_all(self._batch.connection, core.setting, name)

    def replace_index(self, made: Sequence[tuple[int, int, IndexRows]]) -> None:
        """Replace the index rows of resources at (key, version), except where a newer version exists."""
        self.lock()
        self._protect()
        self._batch.replace_index(made)

    def seconds(self) -> int:
        """Seconds since 1970 by the one clock that all machines of this store share: PostgreSQL's own, or
        that of the machine on SQLite."""
        self._protect()
        return self._batch.session.milliseconds() // 1000

    def take_lease(self, name: str, holder: str, seconds: float) -> bool:
        """Take or extend the right to do the job `name` alone; False while another holder's lease runs."""
        self._protect()
        now, length = self._batch.session.milliseconds(), round(seconds * 1000)
        # A lease that runs longer than any is given was taken before the clock was set back.
        return bool(
            self._batch.session.run(
                "INSERT INTO lease (name, holder, until) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET holder = excluded.holder, until = excluded.until"
                " WHERE lease.holder = excluded.holder OR lease.until < ? OR lease.until > ?",
                (name, holder, now + length, now, now + max(length, _LONGEST_LEASE)),
            )
        )

    def give_up_lease(self, name: str, holder: str) -> None:
        """Let another holder take the lease at once."""
        self._protect()
        self._batch.session.run("DELETE FROM lease WHERE name = ? AND holder = ?", (name, holder))

    def forget(self, references: Iterable[Reference]) -> None:
        """Know nothing any more of resources whose rows this work has taken away (`erasing.py`)."""
        for reference in references:
            self._own.pop(reference, None)
            self._batch.latest.pop(reference, None)

    def note(self, what: Any) -> None:
        """Hand this to whoever keeps notes (`Store.keep_notes`): it is written together with the work."""
        self._notes.append(what)

    # ------------------------------------------------------------------------------------------ the frame

    def _protect(self) -> None:
        """Open a savepoint before this work touches the database itself, so that it can fail alone."""
        if not self._savepoint:
            self._batch.flush(self._batch.pending)
            self._savepoint = True
            self._new_types = set(self._batch.new_types)
            self._batch.session.run("SAVEPOINT work")

    def _flush(self) -> None:
        self._batch.flush(self._pending)
        for reference in self._own:
            self._own[reference] = self._batch.latest[reference] or self._own[reference]

    def finish(self) -> None:
        """The work succeeded: hand its writes to the batch."""
        self._batch.pending += self._pending
        self._batch.notes += self._notes
        self._batch.latest.update(self._own)
        if self._savepoint:
            self._batch.session.run("RELEASE SAVEPOINT work")

    def undo(self) -> None:
        """The work failed: nothing of it remains."""
        if self._savepoint:
            for reference in self._own:
                self._batch.latest.pop(reference, None)
            self._batch.session.run("ROLLBACK TO SAVEPOINT work")
            self._batch.new_types = self._new_types
            self._batch.session.run("RELEASE SAVEPOINT work")


def _type(document: Document) -> str:
    if not document.type:
        raise BadRequest("The resource has no resourceType; name one.")
    if b"\\u0000" in document.raw:
        # Perhaps a NUL, which PostgreSQL cannot hold, in a document that was made without `parse`.
        jsontext.parse(document.raw)
    return document.type


def _exists(type: str, id: str) -> Conflict:
    return Conflict(f"{type}/{id} exists already; update it, or create it under another id.")


def _is_same(held: Version, content: Document, kept: Json) -> bool:
    return plain_hash(held) == content.hash and kept_meta(held.data) == kept

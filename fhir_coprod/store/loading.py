"""Loads many resources from files into a store: NDJSON, Bundles, single resources, and folders of them.

Ids are kept. A resource without one gets the same id each time the same content is loaded. Everything is
validated: what can be read and breaks a rule is stored with marks that say so, and what cannot be read is
handed to the caller with the reason. After a kill and restart, a load continues from its last commit: its
progress in a file is a cursor, set in the same transaction as the resources. Everything before that point is
validated once more, so that the run that reaches the end reports all faults.
"""

from __future__ import annotations

import io
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import UUID, uuid5

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    CoprodError,
    InvalidResource,
    NotJson,
    TooLarge,
    Unwritable,
)
from fhir_coprod.files.finding import Found
from fhir_coprod.files.reading import LIMITS, Limits, texts, too_many
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store.quality import Marks, marks
from fhir_coprod.store.repository import Store
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.unpacking import Unpacked, unpack
from fhir_coprod.store.versions import Change
from fhir_coprod.validation import is_part, validate_to_store

CHUNK = 250
"""Resources in one transaction."""
CHUNK_BYTES = 4_000_000
"""Bytes of them; a single one may be longer."""
AHEAD = 4
"""How many chunks may wait for the writer while the next ones are read and validated."""
AHEAD_BYTES = 16_000_000
"""Bytes of the resources in them."""
NAMED = 1_000
"""How many records that could not be loaded are reported one by one; the others are only counted."""
_BUNDLE = 5
"""How many times the elements of one record a Bundle may have, which is taken apart."""

_NAMESPACE = UUID("6f0d7c1e-6d1c-4b0c-9d6c-0a5a3c1f0b52")
"""The namespace of the ids for resources that have none."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that could not be loaded.

    place: file and line, or file and number of the entry
    raw:   its bytes; empty if the file itself cannot be read
    """

    place: str
    outcome: Outcome
    raw: bytes = b""
    type: str = ""


@dataclass(slots=True)
class Loaded:
    """The result of a load."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    """Stored by an earlier run that was interrupted."""
    not_valid: int = 0
    """Those of the created and updated ones that break a rule, and are kept with marks."""
    dead: int = 0
    """Records that could not be loaded."""
    named: list[Dead] = field(default_factory=list)
    """The first of them, without their bytes."""

    @property
    def read(self) -> int:
        return self.created + self.updated + self.unchanged + self.skipped + self.dead

    def count(self, change: Change) -> None:
        setattr(self, change, getattr(self, change) + 1)


@dataclass(frozen=True, slots=True)
class _InFile:
    """One resource in a file, or the reason why it is not one."""

    place: int | None
    """Line, or number of the entry; None for the file itself."""
    raw: bytes
    end: int
    """Bytes of the file that have been read up to here, for the progress bar."""
    references: Mapping[str, str] | None = None
    wrong: Issue | None = None


Progress = Callable[[int], None]
"""Called with the number of bytes processed since the last call."""
Bury = Callable[[Transaction, str, Sequence[Dead], bool], None]
"""Called in the transaction of the records around them with a file, its records that could not be loaded, and
whether the file is being read from its beginning, so that its earlier dead letters are out of date."""
Validate = Callable[[Document], Outcome]


def cursor_name(file: str | Path) -> str:
    """The cursor of a load of this file, with its present content; at 0 when no load is under way."""
    status = Path(file).stat()
    identity = f"{os.path.realpath(file)}\n{status.st_size}\n{status.st_mtime_ns}"
    return f"load:{sha256(os.fsencode(identity)).hexdigest()[:32]}"


def load(
    store: Store,
    found: Sequence[Found],
    progress: Progress = lambda size: None,
    bury: Bury = lambda transaction, file, dead, afresh: None,
    *,
    stdin: BinaryIO | None = None,
    limits: Limits = LIMITS,
    keep_invalid: bool = True,
) -> Loaded:
    """Load all files; records that cannot be loaded are counted and go to `bury`, and stop nothing.

    stdin:        standard input, if one of the files is `-`
    keep_invalid: store what breaks a rule, too, and say what is wrong in it; else it cannot be loaded
    """
    done = Loaded()
    for file in found:
        if file.same_as:
            continue
        loading = _File(store, file, done, progress, bury, limits, keep_invalid=keep_invalid)
        try:
            loading.load(_records(file, stdin or io.BytesIO(), limits))
        except Unwritable as error:
            loading.count_written()
            raise Unwritable(f"{error.message} {_so_far(done)}", error.state) from error
    return done


def _so_far(done: Loaded) -> str:
    written = done.created + done.updated
    so_far = f"{written} records were written" if written != 1 else "1 record was written"
    return f"{so_far} before that; start the same command again, and it goes on from there."


class Loadable(NamedTuple):
    """A record that can be stored."""

    document: Document
    id: str
    marks: Marks


def judge(
    raw: bytes,
    validate: Validate = validate_to_store,
    *,
    keep_invalid: bool = True,
    elements: int = jsontext.MAX_ELEMENTS,
) -> Loadable:
    """Whether a record can be stored. Raises CoprodError if not."""
    if jsontext.has_more_elements(raw, elements):
        issue = too_many(elements, len(raw))
        raise TooLarge(issue.message, outcome=Outcome((issue,)))
    document = jsontext.parse(raw)
    if not definitions.is_resource_type(document.type):
        raise BadRequest("The record is not a FHIR R4 resource: its resourceType is not one of R4.")
    id = _id(document)
    _check_id(document, id)
    if document.type == "Bundle" and document.data.get("type") == "history":
        raise BadRequest(
            "A history is not loaded, as the store makes versions by itself; load the resources as they are"
            " now."
        )
    outcome = validate(document)
    if outcome:
        return Loadable(document, id, ())
    if not keep_invalid or is_part(document):
        raise InvalidResource("The record breaks rules of FHIR R4 or its profile.", outcome=outcome)
    return Loadable(document, id, marks(outcome))


def take(transaction: Transaction, raw: bytes, validate: Validate) -> bool:
    """Store a record that could not be loaded before; False if it still cannot."""
    try:
        document, id, wrong = judge(raw, validate)
    except CoprodError:
        return False
    change = transaction.put(document, id, marks=wrong).change
    unpack(transaction, document, change, is_sound=not wrong)
    return True


class _File:
    """One file being loaded into the store."""

    def __init__(
        self,
        store: Store,
        file: Found,
        done: Loaded,
        progress: Progress,
        bury: Bury,
        limits: Limits,
        *,
        keep_invalid: bool,
    ) -> None:
        self.store = store
        self.file = file
        self.done = done
        self.progress = progress
        self.bury = bury
        self.limits = limits
        self.keep_invalid = keep_invalid
        self.refused: list[Dead] = []
        """Not yet buried."""
        self.afresh = False
        """Whether nothing of a run from the beginning has been submitted yet."""
        self.held = 0
        """Bytes of records that are read and not yet submitted."""
        self.waiting: deque[tuple[Future[list[Unpacked]], int]] = deque()
        self.cursor = _cursor_of(file)
        self.reached = 0
        """The cursor after all that has been submitted."""

    def load(self, records: Iterator[_InFile]) -> None:
        behind = self.reached = self.store.cursor(self.cursor) if self.cursor else 0
        self.afresh = behind == 0 and self.file.is_regular
        chunk: list[tuple[Loadable, Mapping[str, str] | None]] = []
        reported = 0
        for number, record in enumerate(records, 1):
            loadable = self._loadable(record)
            if loadable is not None and number <= behind:
                self.done.skipped += 1
            elif loadable is not None:
                chunk.append((loadable, record.references))
                self.held += len(record.raw)
            if len(chunk) >= CHUNK or len(self.refused) >= CHUNK or self.held >= CHUNK_BYTES:
                self._submit(chunk, number)
                chunk = []
                self.progress(record.end - reported)
                reported = record.end
        # The file is done: loading it again later starts at its beginning.
        self._submit(chunk, 0)
        while self.waiting:
            self._collect()
        self.progress(self.file.size - reported)

    def _loadable(self, record: _InFile) -> Loadable | None:
        """The record as a resource to store; None after reporting it as dead."""
        place = self.file.name if record.place is None else f"{self.file.name}:{record.place}"
        if record.wrong is not None:
            self._refuse(Dead(place, Outcome((record.wrong,))))
            return None
        try:
            return judge(record.raw, keep_invalid=self.keep_invalid, elements=self.limits.elements)
        except CoprodError as error:
            self._refuse(Dead(place, error.outcome, record.raw, _peek_type(record.raw)))
        return None

    def _refuse(self, dead: Dead) -> None:
        self.done.dead += 1
        if len(self.done.named) < NAMED:
            self.done.named.append(Dead(dead.place, dead.outcome))
        self.refused.append(dead)
        self.held += len(dead.raw)

    def _submit(self, chunk: list[tuple[Loadable, Mapping[str, str] | None]], last: int) -> None:
        refused, afresh, held = self.refused, self.afresh, self.held
        self.refused, self.afresh, self.held = [], False, 0
        before, self.reached = self.reached, last

        def work(transaction: Transaction) -> list[Unpacked]:
            if self.cursor and transaction.cursor(self.cursor) != before:
                # The part before was not written, for want of room for instance: after this one, the next run
                # would pass it over.
                raise Conflict("Another load of the same file is in progress; wait for it to end.")
            transaction.fetch((one.document.type, one.id) for one, _ in chunk)
            done = [
                Unpacked(
                    transaction.put(one.document, one.id, references=references, marks=one.marks).change,
                    bool(one.marks),
                )
                for one, references in chunk
            ]
            for (one, _), (change, is_marked) in zip(chunk, tuple(done), strict=True):
                done += unpack(transaction, one.document, change, is_sound=not is_marked)
            if self.cursor:
                transaction.set_cursor(self.cursor, last)
            if refused or afresh:
                self.bury(transaction, self.file.name, refused, afresh)
            return done

        self.waiting.append((self.store.submit(work), held))
        while len(self.waiting) > AHEAD or sum(size for _, size in self.waiting) > AHEAD_BYTES:
            self._collect()

    def count_written(self) -> None:
        """Count what was written of that for which nobody waits any more."""
        while self.waiting:
            with suppress(CoprodError):
                self._collect()

    def _collect(self) -> None:
        for change, is_marked in self.waiting.popleft()[0].result():
            self.done.count(change)
            self.done.not_valid += is_marked and change in ("created", "updated")


def _cursor_of(file: Found) -> str:
    """ "" for what cannot be read twice, and for what is gone: there is nothing to go on with."""
    if not file.is_regular or file.wrong:
        return ""
    try:
        return cursor_name(file.path)
    except OSError:
        return ""


def _id(document: Document) -> str:
    id = document.data.get("id")
    return id if isinstance(id, str) else str(uuid5(_NAMESPACE, document.type + document.hash))


def _check_id(document: Document, id: str) -> None:
    if not isinstance(document.data.get("id", ""), str):
        raise BadRequest("The id of the record is no text, so that nobody can refer to it; correct it.")
    check_id(id)


_TYPE = re.compile(rb'"resourceType"\s*:\s*"([A-Z][A-Za-z]{2,40})"')


def _peek_type(raw: bytes) -> str:
    """The type of what may not even be JSON."""
    found = _TYPE.search(raw)
    return found[1].decode() if found else ""


# ------------------------------------------------------------------------------------------ reading files


def _records(file: Found, stdin: BinaryIO, limits: Limits) -> Iterator[_InFile]:
    """Every resource of a file: its lines, the entries of its Bundle, or the single resource in it."""
    for text in texts(file, stdin, limits._replace(elements=limits.bytes)):  # counted here
        wrong = text.wrong or _too_many_entries(text.raw, limits)
        if wrong is not None:
            yield _InFile(text.line, b"", text.read, wrong=wrong)
        elif b'"Bundle"' in text.raw:
            for entry in _entries(text.raw.strip()):
                yield replace(entry, place=text.line or entry.place, end=text.read)
        elif text.raw:
            yield _InFile(text.line or 1, text.raw.strip(), text.read)


def _too_many_entries(raw: bytes, limits: Limits) -> Issue | None:
    """What is wrong with a Bundle that cannot even be taken apart; its entries are measured one by one."""
    if b'"Bundle"' in raw and jsontext.has_more_elements(raw, limits.elements * _BUNDLE):
        return Issue(
            "fatal",
            "too-long",
            f"This Bundle of {len(raw):,} bytes has more than the {limits.elements * _BUNDLE:,} values and "
            f"members that one may have ({_BUNDLE} times limits.elements); split it.",
        )
    return None


class _Entry(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"")
    full_url: str = ""


class _Bundle(msgspec.Struct, rename="camel"):
    resource_type: str = ""
    type: str = ""
    entry: list[_Entry] = []


_decode_bundle: Callable[[bytes], _Bundle] = msgspec.json.Decoder(_Bundle).decode
_KEPT_WHOLE = ("document", "message", "history")
"""Bundles that are stored whole: a document is signed as a whole, a message is more than its parts (both are
unpacked besides), and the entries of a history are versions, not separate resources."""


def _entries(raw: bytes) -> Iterator[_InFile]:
    try:
        bundle = _decode_bundle(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # Not a Bundle, or not even JSON: the parser that comes next gives the reason.
        yield _InFile(1, raw, len(raw))
        return
    if bundle.resource_type != "Bundle" or bundle.type in _KEPT_WHOLE:
        yield _InFile(1, raw, len(raw))
        return
    references = _local_references(bundle)
    for number, entry in enumerate(bundle.entry, 1):
        if bytes(entry.resource):
            yield _InFile(number, bytes(entry.resource), len(raw), references)


def _local_references(bundle: _Bundle) -> dict[str, str]:
    """From each entry's fullUrl to the reference under which the entry will be stored."""
    found: dict[str, str] = {}
    for entry in bundle.entry:
        if not entry.full_url:
            continue
        try:
            document = jsontext.parse(bytes(entry.resource))
        except NotJson:
            continue
        found[entry.full_url] = f"{document.type}/{_id(document)}"
    return found

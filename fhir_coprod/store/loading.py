"""Loads many resources from files into a store: NDJSON, Bundles, single resources, and folders of them.

Ids are kept. A resource without one gets the same id each time the same content is loaded. Everything is
validated: what can be read and breaks a rule is stored with marks that say so, and what cannot be read is
handed to the caller with the reason. After a kill and restart, a load continues from its last commit: its
progress in a file is a cursor, set in the same transaction as the resources. Everything before that point is
validated once more, so that the run that reaches the end reports all faults.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple
from uuid import UUID, uuid5

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import (
    BadRequest,
    ConfigError,
    CoprodError,
    InvalidResource,
    NotJson,
    Unwritable,
    readable,
)
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.store.quality import Marks, marks
from fhir_coprod.store.repository import Store
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.unpacking import Unpacked, unpack
from fhir_coprod.store.versions import Change
from fhir_coprod.validation import is_part, validate_to_store

CHUNK = 250
"""Resources in one transaction."""
AHEAD = 4
"""How many chunks may wait for the writer while the next ones are read and validated."""

_LINES = (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz")
_SUFFIXES = (*_LINES, ".json", ".json.gz")
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
    dead: list[Dead] = field(default_factory=list)

    @property
    def read(self) -> int:
        return self.created + self.updated + self.unchanged + self.skipped + len(self.dead)

    def count(self, change: Change) -> None:
        setattr(self, change, getattr(self, change) + 1)


@dataclass(frozen=True, slots=True)
class _InFile:
    """One resource in a file, or the reason why it is not one."""

    place: int
    """Line, or number of the entry."""
    raw: bytes
    end: int
    """Bytes of the file up to the record's end, for the progress bar."""
    references: Mapping[str, str] | None = None


Progress = Callable[[int], None]
"""Called with the number of bytes processed since the last call."""
Bury = Callable[[Transaction, str, Sequence[Dead], bool], None]
"""Called in the transaction of the records around them with a file, its records that could not be loaded, and
whether the file is being read from its beginning, so that its earlier dead letters are out of date."""
Validate = Callable[[Document], Outcome]


def files(paths: Sequence[Path]) -> list[Path]:
    """The files behind the paths: for a folder, the resource files in it and below, by name.

    Raises ConfigError for a path that does not exist.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(
                file for file in path.rglob("*") if file.name.endswith(_SUFFIXES) and file.is_file()
            )
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError(f"{readable(path)}: there is no such file or folder.")
    return found


def cursor_name(file: Path) -> str:
    """The cursor of a load of this file, with its present content; at 0 when no load is under way."""
    status = file.stat()
    identity = f"{file.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return f"load:{sha256(os.fsencode(identity)).hexdigest()[:32]}"


def load(
    store: Store,
    paths: Sequence[Path],
    progress: Progress = lambda size: None,
    bury: Bury = lambda transaction, file, dead, afresh: None,
    *,
    keep_invalid: bool = True,
) -> Loaded:
    """Load all files; records that cannot be loaded go into `dead` and to `bury`, and stop nothing.

    keep_invalid: store what breaks a rule, too, and say what is wrong in it; else it cannot be loaded
    """
    done = Loaded()
    for file in files(paths):
        loading = _File(store, file, done, progress, bury, keep_invalid=keep_invalid)
        try:
            loading.load()
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


def judge(raw: bytes, validate: Validate = validate_to_store, *, keep_invalid: bool = True) -> Loadable:
    """Whether a record can be stored. Raises CoprodError if not."""
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
        self, store: Store, path: Path, done: Loaded, progress: Progress, bury: Bury, *, keep_invalid: bool
    ) -> None:
        self.store = store
        self.path = path
        self.done = done
        self.progress = progress
        self.bury = bury
        self.keep_invalid = keep_invalid
        self.refused: list[Dead] = []
        """Not yet buried."""
        self.afresh = False
        """Whether nothing of a run from the beginning has been submitted yet."""
        self.waiting: deque[Future[list[Unpacked]]] = deque()
        self.size = path.stat().st_size
        self.cursor = cursor_name(path)

    def load(self) -> None:
        behind = self.store.cursor(self.cursor)
        self.afresh = behind == 0
        chunk: list[tuple[Loadable, Mapping[str, str] | None]] = []
        reported = 0
        try:
            for number, record in enumerate(_records(self.path), 1):
                loadable = self._loadable(record)
                if loadable is not None and number <= behind:
                    self.done.skipped += 1
                elif loadable is not None:
                    chunk.append((loadable, record.references))
                if len(chunk) >= CHUNK or len(self.refused) >= CHUNK:
                    self._submit(chunk, number)
                    chunk = []
                    self.progress(min(record.end, self.size) - reported)
                    reported = min(record.end, self.size)
        except (OSError, EOFError, zlib.error) as error:
            reason = BadRequest(f"The file cannot be read to its end: {error}.")
            self._refuse(Dead(readable(self.path), reason.outcome))
        # The file is done: loading it again later starts at its beginning.
        self._submit(chunk, 0)
        while self.waiting:
            self._collect()
        self.progress(self.size - reported)

    def _loadable(self, record: _InFile) -> Loadable | None:
        """The record as a resource to store; None after reporting it as dead."""
        try:
            return judge(record.raw, keep_invalid=self.keep_invalid)
        except CoprodError as error:
            place = f"{readable(self.path)}:{record.place}"
            self._refuse(Dead(place, error.outcome, record.raw, _peek_type(record.raw)))
        return None

    def _refuse(self, dead: Dead) -> None:
        self.done.dead.append(Dead(dead.place, dead.outcome))
        self.refused.append(dead)

    def _submit(self, chunk: list[tuple[Loadable, Mapping[str, str] | None]], last: int) -> None:
        refused, afresh = self.refused, self.afresh
        self.refused, self.afresh = [], False

        def work(transaction: Transaction) -> list[Unpacked]:
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
            transaction.set_cursor(self.cursor, last)
            if refused or afresh:
                self.bury(transaction, readable(self.path), refused, afresh)
            return done

        self.waiting.append(self.store.submit(work))
        while len(self.waiting) > AHEAD:
            self._collect()

    def count_written(self) -> None:
        """Count what was written of that for which nobody waits any more."""
        while self.waiting:
            with suppress(CoprodError):
                self._collect()

    def _collect(self) -> None:
        for change, is_marked in self.waiting.popleft().result():
            self.done.count(change)
            self.done.not_valid += is_marked and change in ("created", "updated")


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


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _records(path: Path) -> Iterator[_InFile]:
    """Every resource of a file: its lines, the entries of its Bundle, or the single resource in it."""
    with _open(path) as stream:
        if path.name.endswith(_LINES) or _has_many_lines(stream):
            yield from _lines(stream)
        else:
            raw = stream.read()
            if raw.strip():
                yield from _entries(raw)


def _has_many_lines(stream: BinaryIO) -> bool:
    """Whether the first line is a whole JSON object and another one follows: NDJSON under another name."""
    first, second = stream.readline(), stream.readline()
    stream.seek(0)
    if not first.strip() or not second.strip():
        return False
    try:
        return isinstance(jsontext.decode(first), dict)
    except NotJson:
        return False


def _lines(stream: BinaryIO) -> Iterator[_InFile]:
    end = 0
    for number, line in enumerate(stream, 1):
        end += len(line)
        text = line.strip()
        if not text:
            continue
        if b'"Bundle"' in text:
            for entry in _entries(text):
                yield _InFile(number, entry.raw, end, entry.references)
        else:
            yield _InFile(number, text, end)


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


def total_size(paths: Sequence[Path]) -> int:
    """Bytes of all files behind the paths."""
    return sum(file.stat().st_size for file in files(paths))

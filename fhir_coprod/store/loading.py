"""Loads many resources from files into a store: NDJSON, Bundles, single resources, and folders of them.

Ids are kept. A resource without one gets the same id each time the same content is loaded. Everything is
validated: what can be read and breaks a rule is stored with marks that say so, and what cannot be read is
handed to the caller with the reason. A record with a reference by criteria that find nothing is tried once
more at the end, when all files have been read (`taking.py`). After a kill and restart, a load continues from
its last commit: its progress in a file is a cursor, set in the same transaction as the resources. Everything
before that point is validated once more, so that the run that reaches the end reports all faults.
"""

from __future__ import annotations

import io
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.errors import Conflict, CoprodError, NotJson, Unwritable
from fhir_coprod.files.finding import Found
from fhir_coprod.files.reading import LIMITS, Limits, texts
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store.links import Addresses, folded
from fhir_coprod.store.repository import Store
from fhir_coprod.store.taking import (
    CHUNK,
    NO_ADDRESSES,
    After,
    Bury,
    Dead,
    Loadable,
    Loaded,
    Rule,
    Stored,
    Waiting,
    dead,
    id_of,
    judge,
    no_rule,
    nothing_after,
    store_all,
)
from fhir_coprod.store.transaction import Transaction

CHUNK_BYTES = 4_000_000
"""Bytes of them; a single one may be longer."""
AHEAD = 4
"""How many chunks may wait for the writer while the next ones are read and validated."""
AHEAD_BYTES = 16_000_000
"""Bytes of the resources in them."""
_BUNDLE = 5
"""How many times the elements of one record a Bundle may have, which is taken apart."""


@dataclass(frozen=True, slots=True)
class _InFile:
    """One resource in a file, or the reason why it is not one."""

    place: int | None
    """Line, or number of the entry; None for the file itself."""
    raw: bytes
    end: int
    """Bytes of the file that have been read up to here, for the progress bar."""
    addresses: Addresses = NO_ADDRESSES
    full_url: str = ""
    wrong: Issue | None = None


Progress = Callable[[int], None]
"""Called with the number of bytes processed since the last call."""


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
    rule: Rule = no_rule,
    after: After = nothing_after,
) -> Loaded:
    """Load all files; records that cannot be loaded are counted and go to `bury`, and stop nothing.

    stdin:        standard input, if one of the files is `-`
    keep_invalid: store what breaks a rule, too, and say what is wrong in it; else it cannot be loaded
    rule:         what may not be stored although it can be
    after:        told what each transaction has stored
    """
    done = Loaded()
    later = Waiting(rule, after)
    try:
        for file in found:
            if not file.same_as:
                loading = _File(store, file, done, progress, bury, limits, later, keep_invalid=keep_invalid)
                loading.load(_records(file, stdin or io.BytesIO(), limits))
        later.try_again(store, done, bury)
    except Unwritable as error:
        raise Unwritable(f"{error.message} {_so_far(done)}", error.state) from error
    return done


def _so_far(done: Loaded) -> str:
    written = done.created + done.updated
    so_far = f"{written} records were written" if written != 1 else "1 record was written"
    return f"{so_far} before that; start the same command again, and it goes on from there."


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
        later: Waiting,
        *,
        keep_invalid: bool,
    ) -> None:
        self.store = store
        self.file = file
        self.done = done
        self.progress = progress
        self.bury = bury
        self.limits = limits
        self.later = later
        self.keep_invalid = keep_invalid
        self.refused: list[Dead] = []
        """Not yet buried."""
        self.afresh = False
        """Whether nothing of a run from the beginning has been submitted yet."""
        self.held = 0
        """Bytes of records that are read and not yet submitted."""
        self.waiting: deque[tuple[Future[Stored], int]] = deque()
        self.cursor = _cursor_of(file)
        self.reached = 0
        """The cursor after all that has been submitted."""

    def load(self, records: Iterator[_InFile]) -> None:
        try:
            self._load(records)
        except Unwritable:
            self._count_written()
            raise

    def _load(self, records: Iterator[_InFile]) -> None:
        behind = self.reached = self.store.cursor(self.cursor) if self.cursor else 0
        self.afresh = behind == 0 and self.file.is_regular
        chunk: list[Loadable] = []
        reported = 0
        for number, record in enumerate(records, 1):
            loadable = self._loadable(record)
            # One that refers by criteria may have waited in vain when that run was stopped.
            if loadable is not None and number <= behind and not loadable.refers:
                self.done.skipped += 1
            elif loadable is not None:
                chunk.append(loadable)
                self.held += len(record.raw)
            if len(chunk) >= CHUNK or len(self.refused) >= CHUNK or self.held >= CHUNK_BYTES:
                self._submit(chunk, max(number, behind))
                chunk = []
                self.progress(record.end - reported)
                reported = record.end
        # The file is done: loading it again later starts at its beginning.
        self._submit(chunk, 0)
        self._collect_all()
        if self.refused:
            self._submit([], 0)
            self._collect_all()
        self.progress(self.file.size - reported)

    def _loadable(self, record: _InFile) -> Loadable | None:
        """The record as a resource to store; None after reporting it as dead."""
        place = self.file.name if record.place is None else f"{self.file.name}:{record.place}"
        if record.wrong is not None:
            self._refuse(Dead(place, Outcome((record.wrong,))))
            return None
        try:
            loadable = judge(
                record.raw,
                keep_invalid=self.keep_invalid,
                elements=self.limits.elements,
                addresses=record.addresses,
                full_url=record.full_url,
            )
        except CoprodError as error:
            self._refuse(Dead(place, error.outcome, record.raw, _peek_type(record.raw)))
            return None
        return loadable._replace(file=self.file.name, place=place)

    def _refuse(self, dead: Dead) -> None:
        self.done.refuse(dead)
        self.refused.append(dead)
        self.held += len(dead.raw)

    def _submit(self, chunk: list[Loadable], last: int) -> None:
        refused, afresh, held = self.refused, self.afresh, self.held
        self.refused, self.afresh, self.held = [], False, 0
        before, self.reached = self.reached, last

        def work(transaction: Transaction) -> Stored:
            if self.cursor and transaction.cursor(self.cursor) != before:
                # The part before was not written, for want of room for instance: after this one, the next run
                # would pass it over.
                raise Conflict("Another load of the same file is in progress; wait for it to end.")
            stored = store_all(transaction, chunk, self.later.rule, self.later.after)
            if self.cursor:
                transaction.set_cursor(self.cursor, last)
            if refused or afresh:
                self.bury(transaction, self.file.name, refused, afresh)
            return stored

        self.waiting.append((self.store.submit(work), held))
        while len(self.waiting) > AHEAD or sum(size for _, size in self.waiting) > AHEAD_BYTES:
            self._collect()

    def _collect_all(self) -> None:
        while self.waiting:
            self._collect()

    def _count_written(self) -> None:
        """Count what was written of that for which nobody waits any more."""
        while self.waiting:
            with suppress(CoprodError):
                self._collect()

    def _collect(self) -> None:
        stored = self.waiting.popleft()[0].result()
        self.done.add(stored.done)
        for one, error in stored.unfound:
            if not self.later.keep(one, error):
                self._refuse(dead(one, error))


def _cursor_of(file: Found) -> str:
    """ "" for what cannot be read twice, and for what is gone: there is nothing to go on with."""
    if not file.is_regular or file.wrong:
        return ""
    try:
        return cursor_name(file.path)
    except OSError:
        return ""


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
    addresses = _addresses(bundle)
    for number, entry in enumerate(bundle.entry, 1):
        if bytes(entry.resource):
            yield _InFile(number, bytes(entry.resource), len(raw), addresses, entry.full_url)


def _addresses(bundle: _Bundle) -> Addresses:
    """From each entry's fullUrl to the reference under which the entry will be stored."""
    found: dict[str, str] = {}
    for entry in bundle.entry:
        if not entry.full_url:
            continue
        try:
            document = jsontext.parse(bytes(entry.resource))
        except NotJson:
            continue
        found[folded(entry.full_url)] = f"{document.type}/{id_of(document)}"
    return Addresses(found)

"""Loads what a program has sent by `$import`, line by line, as `fhir-coprod load` loads a file.

Lines that cannot be stored stop nothing: each becomes an OperationOutcome with its number in a file. When a
process ends in the middle, another goes on behind the last lines that were stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from fhir_coprod import faults, jsontext
from fhir_coprod.bulk.folder import Files, Folder
from fhir_coprod.bulk.wanted import File
from fhir_coprod.errors import ConfigError, CoprodError, Overloaded, Unwritable, said
from fhir_coprod.files.finding import Found
from fhir_coprod.files.reading import Limits
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store, Transaction, bulk_jobs
from fhir_coprod.store.bulk_jobs import IMPORT, BulkJob
from fhir_coprod.store.lease import Lease
from fhir_coprod.store.loading import load
from fhir_coprod.store.taking import After, Dead, Loaded, Rule, no_rule, nothing_after

log = logging.getLogger("fhir_coprod.bulk")

SAVE_SECONDS = 5.0
LEASE_SECONDS = 60


class Counts(msgspec.Struct, rename="camel"):
    """What became of the lines: their resources, or those in their Bundles.

    skipped:   stored before a process ended, and not counted otherwise
    not_valid: of those that were created or updated, the ones that break a rule and are marked
    failed:    lines that could not be stored
    """

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    not_valid: int = 0
    failed: int = 0


class Job(msgspec.Struct):
    """How far an import is.

    name:     of the file that holds what was sent, as it was sent
    size:     of it, in bytes
    read:     of these
    received: when it had come; milliseconds since 1970
    request:  the URL to which it was sent
    files:    that say what could not be stored
    failed:   why it could not be done
    """

    name: str
    size: int
    received: int
    request: str
    read: int = 0
    counts: Counts = msgspec.field(default_factory=Counts)
    files: list[File] = []
    failed: str = ""

    @property
    def progress(self) -> str:
        """In a few words, for people."""
        return f"{min(99, 100 * self.read // max(self.size, 1))} % read"


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Job).decode


class _Over(Exception):
    """Nobody wants it any more, or somebody else does it."""


def run(
    store: Store,
    folder: Folder,
    id: str,
    *,
    limits: Limits,
    hours: float,
    rule: Rule = no_rule,
    after: After = nothing_after,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Do an import to its end, unless another process does it.

    hours:   for which its result is kept
    rule:    what may not be stored, as when it is written by itself
    after:   told what each transaction has stored
    is_over: asked between portions; True ends the work, which is left for others
    """
    lease = Lease(f"import/{id}", LEASE_SECONDS)
    if store.write(lease.take) is not None:
        return
    try:
        kept = bulk_jobs.find(store, IMPORT, id)
        if kept is not None and not kept.ended:
            _Import(store, folder, kept, lease, limits, hours, rule, after, is_over).run()
    finally:
        store.write(lease.give_up)


class _Import:
    """One import under work."""

    def __init__(
        self,
        store: Store,
        folder: Folder,
        kept: BulkJob,
        lease: Lease,
        limits: Limits,
        hours: float,
        rule: Rule,
        after: After,
        is_over: Callable[[], bool],
    ) -> None:
        self.store = store
        self.folder = folder
        self.id = kept.id
        self.lease = lease
        self.limits = limits
        self.hours = hours
        self.rule = rule
        self.after = after
        self.is_over = is_over
        self.job = decode(kept.body)
        # All lines that cannot be stored are found again by whoever goes on.
        self.job.read, self.job.files = 0, []
        self.files = Files(folder.of(self.id), self.job.files)
        self.saved = time.monotonic()
        self.buried: Sequence[Dead] | None = None

    def run(self) -> None:
        try:
            try:
                self._load()
            except (Overloaded, ConfigError, Unwritable) as error:
                log.warning("import: %s Whoever asks for it next goes on.", said(error))
            except CoprodError as error:
                self._fail(error.message)
            except _Over:
                raise
            except Exception as error:  # noqa: BLE001  # else it would be tried again for ever
                log.error("import: %s", faults.traced(error))
                self._fail("The import failed by a fault of this server; its log names the place.")
        except _Over:
            if bulk_jobs.find(self.store, IMPORT, self.id) is None:
                self.folder.remove(self.id)

    def _load(self) -> None:
        path = self.folder.of(self.id) / self.job.name
        if not path.exists():
            self._fail("What was sent is not on this machine any more; send it again.")
            return
        done = load(
            self.store,
            [Found(str(path), self.job.size)],
            self._go_on,
            self._bury,
            limits=self.limits,
            rule=self.rule,
            after=self.after,
        )
        self.job.counts = _counts(done)
        self.files.make_lasting()
        self._save(ended=True)
        self.folder.keep_only(self.id, [file.name for file in self.job.files])

    def _go_on(self, size: int) -> None:
        self.job.read += size
        if self.is_over():
            raise _Over
        if time.monotonic() - self.saved >= SAVE_SECONDS:
            self._save()
            self.saved = time.monotonic()

    def _bury(self, transaction: Transaction, file: str, dead: Sequence[Dead], afresh: bool) -> None:
        """Write down the lines that could not be stored, once, although a transaction may be done again."""
        if dead is not self.buried:
            self.buried = dead
            self.files.add("error", "OperationOutcome", [_line(each) for each in dead])

    def _fail(self, sentence: str) -> None:
        self.job.files = []
        self.job.failed = sentence
        self._save(ended=True)
        self.folder.remove(self.id)

    def _save(self, *, ended: bool = False) -> None:
        body = encode(self.job)

        def save(transaction: Transaction) -> bool:
            until = transaction.session.milliseconds() + round(self.hours * 3_600_000)
            return self.lease.prolong(transaction) and bulk_jobs.save(
                transaction, IMPORT, self.id, body=body, until=until, ended=ended
            )

        if not self.store.write(save):
            raise _Over


def _counts(done: Loaded) -> Counts:
    return Counts(done.created, done.updated, done.unchanged, done.skipped, done.not_valid, done.dead)


def _line(dead: Dead) -> bytes:
    number = dead.place.rpartition(":")[2]
    line = f"Line {number}: " if number.isdecimal() else ""
    issues = tuple(
        Issue(each.severity, each.code, f"{line}{each.message}", each.expression)
        for each in dead.outcome.issues
    )
    return jsontext.encode(Outcome(issues).to_fhir()) + b"\n"

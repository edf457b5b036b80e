"""Loads what a program has sent by `$import`, line by line, as `fhir-coprod load` loads a file.

Lines that cannot be stored stop nothing: each becomes an OperationOutcome with its number in a file. When a
process ends in the middle, another goes on behind the last lines that were stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.bulk.folder import Files, Folder
from fhir_coprod.bulk.wanted import File
from fhir_coprod.bulk.working import Work, alone
from fhir_coprod.errors import ConfigError, Overloaded, Unwritable
from fhir_coprod.files.finding import Found
from fhir_coprod.files.reading import Limits
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.bulk_jobs import IMPORT, BulkJob
from fhir_coprod.store.lease import Lease
from fhir_coprod.store.loading import load
from fhir_coprod.store.taking import After, Dead, Loaded, Rule, no_rule, nothing_after

log = logging.getLogger("fhir_coprod.bulk")


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
    alone(
        store,
        _Import,
        id,
        lambda kept, lease: _Import(
            store, folder, kept, lease, hours, is_over, limits=limits, rule=rule, after=after
        ),
    )


class _Import(Work):
    """One import under work."""

    name = "import"
    table = IMPORT
    later = (Overloaded, ConfigError, Unwritable)
    job: Job

    def __init__(
        self,
        store: Store,
        folder: Folder,
        kept: BulkJob,
        lease: Lease,
        hours: float,
        is_over: Callable[[], bool],
        *,
        limits: Limits,
        rule: Rule,
        after: After,
    ) -> None:
        super().__init__(store, folder, kept, lease, hours, is_over)
        self.limits = limits
        self.rule = rule
        self.after = after
        self.job = decode(kept.body)
        # All lines that cannot be stored are found again by whoever goes on.
        self.job.read, self.job.files = 0, []
        self.files = Files(folder.of(self.id), self.job.files)
        self.buried: Sequence[Dead] | None = None

    def encoded(self) -> bytes:
        return encode(self.job)

    def work(self) -> None:
        path = self.folder.of(self.id) / self.job.name
        if not path.exists():
            self.fail("What was sent is not on this machine any more; send it again.")
            return
        done = load(
            self.store,
            [Found(str(path), self.job.size)],
            self._read,
            self._bury,
            limits=self.limits,
            rule=self.rule,
            after=self.after,
        )
        self.job.counts = _counts(done)
        self.files.make_lasting()
        self.save(ended=True)
        self.folder.keep_only(self.id, [file.name for file in self.job.files])

    def _read(self, size: int) -> None:
        self.job.read += size
        self.go_on()

    def _bury(self, transaction: Transaction, file: str, dead: Sequence[Dead], afresh: bool) -> None:
        """Write down the lines that could not be stored, once, although a transaction may be done again."""
        if dead is not self.buried:
            self.buried = dead
            self.files.add("error", "OperationOutcome", [_line(each) for each in dead])


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

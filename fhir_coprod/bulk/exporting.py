"""Writes the files of an export, in portions, from where it or another process has stopped.

First the position of the log is noted whose state is exported. Then all resources that there were, or those
that have changed, are gone through in order; those that belong to the export are written down, and what they
refer to is noted. Last come the resources that have been noted. Every few seconds the files are made lasting,
and how far it is, is written into the database together with the lease: who has lost that stops.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from zoneinfo import ZoneInfo

from fhir_coprod import jsontext
from fhir_coprod.bulk import patients
from fhir_coprod.bulk.filters import Filters
from fhir_coprod.bulk.folder import Files, Folder
from fhir_coprod.bulk.names import CHANGED, UNCHANGED, Names
from fhir_coprod.bulk.wanted import Job, decode, encode
from fhir_coprod.bulk.working import Work, alone
from fhir_coprod.instants import from_milliseconds, last_updated
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Store, Version, snapshots
from fhir_coprod.store.bulk_jobs import EXPORT, BulkJob
from fhir_coprod.store.lease import Lease

log = logging.getLogger("fhir_coprod.bulk")

Cut = Callable[[bytes, str], bytes]
"""A resource without the elements that are not asked for."""
_ATTACHED = re.compile(rb'("url"\s*:\s*")(Binary/)')
_BREAKS = bytes.maketrans(b"\r\n", b"  ")
"""JSON has line breaks only where it may have spaces."""


def run(
    store: Store,
    folder: Folder,
    id: str,
    *,
    cut: Cut,
    zone: ZoneInfo,
    hours: float,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Do an export to its end, unless another process does it.

    cut:     for `_elements`
    hours:   for which its files are kept
    is_over: asked between portions; True ends the work, which is left for others
    """
    alone(
        store,
        _Export,
        id,
        lambda kept, lease: _Export(store, folder, kept, lease, hours, is_over, cut=cut, zone=zone),
    )


class _Export(Work):
    """One export under work."""

    name = "export"
    table = EXPORT
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
        cut: Cut,
        zone: ZoneInfo,
    ) -> None:
        super().__init__(store, folder, kept, lease, hours, is_over)
        self.cut = cut
        self.job = decode(kept.body)
        self.wanted = self.job.wanted
        self.filters = Filters(self.wanted.filters, self.wanted.base, zone)
        self.members: frozenset[str] | None = None
        """The patients whose records are exported; None: all."""
        self.joined: frozenset[str] = frozenset()
        """Those of them who were not members at the time of `_since`: theirs is exported whole."""
        self.since = 0
        """The position after which the changes are that are asked for."""

    def encoded(self) -> bytes:
        return encode(self.job)

    def work(self) -> None:
        try:
            self._work()
        finally:
            self.filters.close()

    def _work(self) -> None:
        self.folder.make(self.id)
        if not self._has_files():
            self.job = Job(self.wanted)
        self._begin()
        self.names = Names(self.folder.of(self.id), self.job.files)
        self.files = Files(self.folder.of(self.id), self.job.files)
        self.saved = time.monotonic()
        while self.job.after >= 0:
            self._members_portion()
            self.go_on(self._make_lasting)
        while self.job.names < len(self.names.entries):
            self._named_portion()
            self.go_on(self._make_lasting)
        self._end()

    def _has_files(self) -> bool:
        """Whether all that is said to be written is there; if not, it begins anew."""
        paths = [(self.folder.of(self.id) / file.name, file.bytes) for file in self.job.files]
        return all(path.exists() and path.stat().st_size >= size for path, size in paths)

    # --------------------------------------------------------------------------------------- begin and end

    def _begin(self) -> None:
        """Fix the state of the store that is exported, and who belongs to it."""
        wanted, job = self.wanted, self.job
        self.folder.require_room()
        if job.head < 0:
            job.head, job.time = self.store.ask(snapshots.head)
            job.time = job.time or self.store.write(lambda t: t.seconds() * 1000)
            self.save()
        if wanted.since is not None:
            since = wanted.since
            self.since = self.store.ask(lambda session: snapshots.position_at(session, since))
        self.members = None if wanted.patients is None else frozenset(wanted.patients)
        if wanted.level == "Group":
            now = self._members_at(job.head, job.time)
            self.members = now if self.members is None else now & self.members
            if wanted.since is not None:
                self.joined = self.members - self._members_at(self.since, wanted.since // 1000)

    def _members_at(self, position: int, milliseconds: int) -> frozenset[str]:
        def find(type: str, id: str) -> Version | None:
            return self._at(type, id, position)

        group = find("Group", self.wanted.group)
        return patients.members(group, milliseconds, self.wanted.base, find) if group else frozenset()

    def _end(self) -> None:
        told = [_line(_outcome(sentence)) for sentence in self.wanted.told]
        self.files.add("error", "OperationOutcome", told)
        names = [file for file in self.job.files if file.kind == "names"]
        self.files.make_lasting()
        self.job.files = [file for file in self.job.files if file not in names]
        self.save(ended=True)
        self.folder.keep_only(self.id, [file.name for file in self.job.files])

    def _make_lasting(self) -> None:
        self.folder.require_room()
        self.names.write(self.files)
        self.files.make_lasting()

    # -------------------------------------------------------------------------------------------- portions

    def _members_portion(self) -> None:
        """Go through the next resources, or changes."""
        wanted, job, since = self.wanted, self.job, self.since
        types = wanted.types
        if self.members is not None and not self.members:
            job.after = -1  # nobody belongs to it
            return
        if wanted.level == "" and wanted.since is not None:
            portion = self.store.ask(lambda s: snapshots.changed(s, since, job.head, types, job.after))
        else:
            portion = self.store.ask(lambda s: snapshots.whole(s, job.head, types, job.after))
        self._write([version for version in portion.versions if self._belongs(version)])
        job.after = -1 if portion.after is None else portion.after

    def _belongs(self, version: Version) -> bool:
        """Whether a resource is part of the export; notes what it refers to."""
        wanted = self.wanted
        about: frozenset[str] = frozenset()
        if wanted.level:
            if self.members is not None and not patients.may_be_about(version, self.members):
                return False
            about = self._about(version)
            if not about or not (self.members is None or about & self.members):
                return False
            # A Group names others: it belongs to an export of some patients only if all of its own are there.
            if version.type == "Group" and self.members is not None and not about <= self.members:
                return False
        is_new = self._is_new(version)
        if version.deleted:
            return is_new and wanted.since is not None and self._is_in_time(version)
        if not self._is_in_time(version) or not self.filters.match(version):
            return False
        is_given = is_new or bool(about & self.joined)
        if wanted.level:
            self._note(version, CHANGED if not is_given else "")
        return is_given

    def _about(self, version: Version) -> frozenset[str]:
        if version.deleted:
            found = self.store.ask(lambda session: snapshots.before(session, version))
            return self._about(found) if found is not None and not found.deleted else frozenset()
        return patients.of(version, self.wanted.base, self._find)

    def _is_new(self, version: Version) -> bool:
        return self.wanted.since is None or version.milliseconds * 1000 > self.wanted.since

    def _is_in_time(self, version: Version) -> bool:
        return self.wanted.until is None or version.milliseconds * 1000 < self.wanted.until

    def _note(self, version: Version, when: str) -> None:
        """Note what a resource refers to, if that is exported with it."""
        wanted = [type for type in self.wanted.types if type in patients.SUPPORTING]
        if wanted and b'"reference"' in version.body:
            for type, id in patients.references(version.data, self.wanted.base):
                if type in wanted:
                    self.names.note(type, id, when)

    def _named_portion(self) -> None:
        """Write the next of what has been referred to."""
        start = self.job.names
        entries = self.names.entries[start : start + snapshots.PORTION]
        given: list[Version] = []
        for type, id, when in entries:
            version = self._find(type, id)
            if version is None or (version.deleted and (when == "" or self.wanted.since is None)):
                continue
            if not self._is_in_time(version) or self._about(version):
                continue  # what is about a patient has been gone through
            is_new = self._is_new(version)
            if not version.deleted:
                if not self.filters.match(version):
                    continue
                self._note(version, CHANGED if when == CHANGED and not is_new else "")
            if not ((when == CHANGED and not is_new) or (when == UNCHANGED and is_new)):
                given.append(version)
        self._write(given)
        self.job.names = start + len(entries)

    def _find(self, type: str, id: str) -> Version | None:
        return self._at(type, id, self.job.head)

    def _at(self, type: str, id: str, position: int) -> Version | None:
        return self.store.ask(lambda session: snapshots.at(session, position, type, id))

    def _write(self, versions: Iterable[Version]) -> None:
        lines: dict[str, list[bytes]] = {}
        gone: list[Version] = []
        for version in versions:
            if version.deleted:
                gone.append(version)
            else:
                lines.setdefault(version.type, []).append(self._line(version))
        for type, some in lines.items():
            self.files.add("output", type, some)
        if gone:
            self.files.add("deleted", "Bundle", [_line(_deletions(gone))])

    def _line(self, version: Version) -> bytes:
        body = self.cut(version.body, self.wanted.elements) if self._is_cut(version.type) else version.body
        if b'"Binary/' in body:
            # Where a file is, has to be told by a whole address.
            body = _ATTACHED.sub(rb"\1" + f"{self.wanted.base}/".encode() + rb"\2", body)
        return body.translate(_BREAKS) + b"\n"

    def _is_cut(self, type: str) -> bool:
        """Whether `_elements` names any for this type: if all are of other types, it stays whole."""
        elements = self.wanted.elements.split(",") if self.wanted.elements else []
        return any("." not in each or each.startswith(f"{type}.") for each in elements)


def _deletions(versions: Iterable[Version]) -> object:
    found = list(versions)
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "meta": {"lastUpdated": last_updated(from_milliseconds(max(each.milliseconds for each in found)))},
        "entry": [{"request": {"method": "DELETE", "url": each.reference}} for each in found],
    }


def _outcome(sentence: str) -> object:
    return Outcome((Issue("warning", "not-supported", sentence),)).to_fhir()


def _line(resource: object) -> bytes:
    return jsontext.encode(resource) + b"\n"

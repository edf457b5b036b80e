"""Remembers the bulk export of each EHR, so that a sync that is killed anywhere goes on with the same one.

What a step does is noted before the next step begins: the job before it is begun at the EHR, its status
address as soon as it is known, each file when it is on the disk. A type is done in the transaction that
stages the last of its records (`stage`); until then its files stay, and are read again from the first record.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from fhir_coprod.store import Store, guarded
from fhir_coprod.store.schema.sync import bulk_file, bulk_job, unread
from fhir_coprod.sync.ehr.export import File, Wanted

_TYPE = "type"
_SUFFIX = ".export"


class Job(msgspec.Struct, frozen=True):
    """One export. Times are FHIR instants.

    base:          the address of the EHR
    began:         when it was asked for, by our clock
    accepts_older: a person asked for everything, also what is older than ours
    address:       where to ask how far it is; "" as long as the EHR has not said so
    began_there:   when it was asked for, by the EHR's clock if it says so
    is_complete:   the manifest is known, and its files are in the table
    time:          up to when everything is in it
    needs_token:   whether its files are fetched as everything else is
    ended:         why nothing is left to do; "" while there is
    """

    base: str
    scope: str
    types: tuple[str, ...]
    began: str
    since: str = ""
    patients: tuple[str, ...] = ()
    accepts_older: bool = False
    address: str = ""
    began_there: str = ""
    is_complete: bool = False
    time: str = ""
    needs_token: bool = True
    ended: str = ""

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.scope, self.types, self.since, self.patients)

    @property
    def is_full(self) -> bool:
        """Whether it exports everything."""
        return not self.since and not self.patients

    @property
    def key(self) -> str:
        """Tells it from other exports of the EHR."""
        return "".join(filter(str.isdigit, self.began))

    @property
    def began_at(self) -> datetime:
        return datetime.fromisoformat(self.began)


class Held(NamedTuple):
    """One file of an export: where it is put, and whether it is there."""

    type: str
    number: int
    file: File
    path: Path
    is_here: bool


@dataclass
class Left:
    """What is left to do of an export."""

    types: set[str] = field(default_factory=set)
    files: list[Held] = field(default_factory=list)

    def of(self, type: str) -> list[Held]:
        """The files with records of the type."""
        return [held for held in self.files if held.file.kind == "output" and held.type == type]


def type_done(connection: Connection, ehr: str, type: str) -> None:
    """All of the type has been staged: nothing of the export is left to do for it."""
    guarded.take_all(connection, bulk_file, ehr, type)


class Exports:
    """The exports of all EHRs, in the store and on the disk.

    folder: where files are put, in a folder for each EHR and export: those of another one are never taken for
            those of this one, also after a restore, or if other machines work with the same store
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def forget_others(self, ehrs: Sequence[str]) -> None:
        """Remove the files of EHRs that are no longer in the settings."""
        kept = {f"{name}{_SUFFIX}" for name in ehrs}
        for folder in self._folder.glob(f"*{_SUFFIX}"):
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def folder(self, ehr: str, job: Job) -> Path:
        """The folder for the files of an export."""
        return self._folder_of(ehr) / job.key

    def _folder_of(self, ehr: str) -> Path:
        return self._folder / f"{ehr}{_SUFFIX}"

    def make_folder(self, ehr: str, job: Job) -> None:
        """The folder for its files, for this user only: they are records of patients. Raises OSError."""
        for folder in (self._folder_of(ehr), self.folder(ehr, job)):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    def sweep(self, ehr: str, kept: Job | None = None) -> None:
        """Remove what is left of exports of the EHR, but for one: of those that another machine has ended, or
        that were ended right before a kill."""
        for folder in self._folder_of(ehr).glob("*"):
            if kept is None or folder.name != kept.key:
                shutil.rmtree(folder, ignore_errors=True)

    def read(self, ehr: str) -> tuple[Job, Left] | None:
        """The export of this EHR, if there was one, and what is left to do of it."""
        with self._store.connect() as connection:
            for table in (bulk_job, bulk_file):
                if guarded.unfit(connection, table, table.c.ehr == ehr):
                    return None  # altered from outside; then from the start
            row = connection.execute(select(bulk_job.c.body).where(bulk_job.c.ehr == ehr)).first()
            f = bulk_file.c
            columns = (f.type, f.number, f.kind, f.url, f.count, f.here)
            rows = connection.execute(select(*columns).where(f.ehr == ehr).order_by(f.type, f.number)).all()
        try:
            job = msgspec.json.decode(row[0], type=Job) if row is not None else None
        except msgspec.MsgspecError:  # of another version of this program; then from the start
            return None
        if job is None:
            return None
        left = Left()
        for type, number, kind, url, count, here in rows:
            if kind == _TYPE:
                left.types.add(type)
            else:
                file = File(kind, type, url, None if count < 0 else count)
                path = self._path(ehr, job, number)
                left.files.append(Held(type, number, file, path, bool(here) and path.exists()))
        return job, left

    def _path(self, ehr: str, job: Job, number: int) -> Path:
        return self.folder(ehr, job) / f"{number:06}.ndjson"

    def patients_left(self, ehr: str) -> frozenset[str]:
        """Ids of the patients who were not in the exported group any more when it was last read."""
        with self._store.connect() as connection:
            own = (unread.c.ehr == ehr) & (unread.c.type == "Patient")
            named = connection.execute(select(unread.c.what).where(own)).scalars().all()
        return frozenset(what.removeprefix("Patient/") for what in named)

    def save(self, ehr: str, job: Job) -> None:
        """Note how far the export is."""
        body = msgspec.json.encode(job)
        self._store.write(lambda t: guarded.put(t.connection, bulk_job, [(ehr, body)]))

    def completed(self, ehr: str, job: Job, files: Iterable[File]) -> Left:
        """Note what the export has come to; returns what is left to do: the files of the types asked for."""
        wanted = [f for f in files if f.kind != "output" or f.type in job.types]
        left = Left(set(job.types))
        for number, file in enumerate(wanted, 1):
            type = file.type if file.kind == "output" else ""
            left.files.append(Held(type, number, file, self._path(ehr, job, number), is_here=False))
        rows = [(ehr, type, 0, _TYPE, "", -1, False) for type in job.types]
        rows += [
            (ehr, type, number, f.kind, f.url, -1 if f.records is None else f.records, False)
            for type, number, f, *_ in left.files
        ]
        body = msgspec.json.encode(job)

        def write(connection: Connection) -> None:
            guarded.take_all(connection, bulk_file, ehr)
            guarded.put(connection, bulk_file, rows)
            guarded.put(connection, bulk_job, [(ehr, body)])

        self._store.write(lambda t: write(t.connection))
        return left

    def moved(self, ehr: str, held: Held, url: str) -> None:
        """The file has another address now."""
        self._change(ehr, held, url=url)

    def fetched(self, ehr: str, held: Held) -> None:
        """The file is in our folder, whole."""
        self._change(ehr, held, here=True)

    def _change(self, ehr: str, held: Held, **values: object) -> None:
        f = bulk_file.c
        own = (f.ehr == ehr) & (f.type == held.type) & (f.number == held.number)
        self._store.write(lambda t: guarded.change(t.connection, bulk_file, own, **values) and None)

    def type_done(self, ehr: str, type: str) -> None:
        self._store.write(lambda t: type_done(t.connection, ehr, type))

    def remove(self, ehr: str, job: Job, files: Iterable[Held]) -> None:
        """Remove files from our folder, once what came of them is on the disk: others do not wait for it."""
        self.save(ehr, job)
        for held in files:
            held.path.unlink(missing_ok=True)

    def end(self, ehr: str, job: Job, why: str) -> None:
        """Nothing is left to do of the export: its files go, and what it was is kept."""
        body = msgspec.json.encode(msgspec.structs.replace(job, ended=why))

        def write(connection: Connection) -> None:
            guarded.take_all(connection, bulk_file, ehr)
            guarded.put(connection, bulk_job, [(ehr, body)])

        self._store.write(lambda t: write(t.connection))
        self.sweep(ehr)

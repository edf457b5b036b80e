"""Writes a copy of everything about a patient into a folder: whole, or not at all."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from fhir_coprod import jsontext
from fhir_coprod.audit import fhir, finding
from fhir_coprod.audit.finding import Wanted
from fhir_coprod.audit.places import Places
from fhir_coprod.errors import ConfigError
from fhir_coprod.instants import from_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction, Version, erasing
from fhir_coprod.subject import whose
from fhir_coprod.subject.page import Contents, Entry, Look, entry, page
from fhir_coprod.subject.whose import Found
from fhir_coprod.sync import erasing as synced
from fhir_coprod.watch.facts import rows

_SHOWN: Final = 1000
"""How many looks the page tells."""
_README: Final = """A copy of everything that is held about one patient. Open index.html.

resources/   each resource as it is now, one on a line (FHIR R4, NDJSON), a file for each type
history/     each version of it, with deletions
received/    the bytes from which each version was made, as they came
sync.ndjson       what was taken from the EHRs, and what could not be taken in
standings.ndjson  where each referral stands
audit.ndjson      who has read the record, as AuditEvents
"""


class Copied(NamedTuple):
    """What is in the copy: counts, and references of what a person has to look at first.

    resources: how many of each type there are now; versions: of these and of deleted ones, altogether
    shared:    what is about others too, and is left out
    """

    resources: dict[str, int]
    versions: int
    sync: dict[str, int]
    standings: int
    audit: int
    first: list[str]
    shared: list[str]

    def to_json(self) -> Json:
        """As `patient export --json` prints it."""
        return self._asdict()


def copy(store: Store, settings: Settings, patient: str, out: Path) -> Copied:
    """Write a copy of everything about the Patient with this id into a new folder, for its owner only.

    Raises ConfigError if the folder is there already or cannot be written, NotFound, and Conflict if the
    Patient was merged into another.
    """
    base = settings.site.base_url.rstrip("/")
    with _placed(out) as folder:

        def work(transaction: Transaction) -> tuple[Found, Copied, dict[str, tuple[int, int]]]:
            _emptied(folder)
            found = whose.find(transaction, patient, base)
            return (found, *_write(transaction, found, folder))

        found, copied, kinds = store.write(work)
        places = Places(store.database)
        try:
            looks, count = _audit(places, settings, found, base, folder)
        finally:
            places.close()
        copied = copied._replace(audit=count)
        own = [one for one in found.alone if one.reference == f"Patient/{patient}" and not one.deleted]
        made = datetime.now(settings.site.zone).isoformat(" ", "minutes")
        told = Contents(
            _name(own[-1]) if own else "a patient",
            *(made, kinds, copied.first, copied.shared, copied.sync, _entries(found), looks),
        )
        _put(folder / "index.html", page(told).encode())
        _put(folder / "README", _README.encode())
    return copied


def _entries(found: Found) -> list[Entry]:
    """The newest versions in a line each."""
    newest = {version.reference: version for version in found.alone}
    return [entry(version.data) for version in newest.values() if not version.deleted]


def _emptied(folder: Path) -> None:
    for inside in folder.iterdir():
        shutil.rmtree(inside) if inside.is_dir() else inside.unlink()


def _write(transaction: Transaction, found: Found, folder: Path) -> tuple[Copied, dict[str, tuple[int, int]]]:
    now: Counter[str] = Counter()
    versions: Counter[str] = Counter()
    first: list[str] = []
    files = _Files(folder)
    hidden = _hidden_from_patients()
    try:
        for version, received in whose.versions_of(transaction, found.references):
            versions[version.type] += 1
            files.line("history", version.type, _told(version))
            if received:
                files.line("received", version.type, {"of": _place(version), **_text(received)})
            newest = transaction.get(version.type, version.id)
            if newest is not None and newest.version == version.version and not version.deleted:
                now[version.type] += 1
                files.raw("resources", version.type, version.body)
                if hidden & _labels(version.data):
                    first.append(version.reference)
        held = synced.held(transaction.connection, found.patients, found.references)
        counted: Counter[str] = Counter()
        for table, row in synced.rows_of(transaction.connection, held):
            counted[table] += 1
            files.line("", "sync", {"table": table, **_plain(row)})
        standings = 0
        for row in _standings(transaction, found):
            standings += 1
            files.line("", "standings", row)
    finally:
        files.close()
    shared = [one.reference for one in found.shared]
    shared += [f"dead letter {letter}" for letter in held.others]
    kinds = {type: (now[type], count) for type, count in versions.items()}
    return Copied(dict(now), versions.total(), dict(counted), standings, 0, first, shared), kinds


class _Files:
    """The files of lines in a folder, each for its owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Path, Any] = {}

    def line(self, part: str, name: str, data: Json) -> None:
        self.raw(part, name, jsontext.encode(data))

    def raw(self, part: str, name: str, text: bytes) -> None:
        path = self._folder / part / f"{name}.ndjson"
        if path not in self._open:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._open[path] = _new(path)
        self._open[path].write(text + b"\n")

    def close(self) -> None:
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()


def _new(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _put(path: Path, text: bytes) -> None:
    with _new(path) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _place(version: Version) -> str:
    return f"{version.reference}/_history/{version.version}"


def _told(version: Version) -> Json:
    if version.deleted:
        return {"deleted": _place(version), "at": version.updated.isoformat(), "source": version.source}
    return version.data


def _text(body: bytes) -> Json:
    """Bytes as text, or in base64 if they are none."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _plain(row: Mapping[str, Any]) -> Json:
    return {name: _text(value) if isinstance(value, bytes) else value for name, value in row.items()}


def _labels(data: Json) -> set[str]:
    meta = data.get("meta")
    labels = meta.get("security") if isinstance(meta, dict) else None
    found = labels if isinstance(labels, list) else []
    return {str(label.get("code")) for label in found if isinstance(label, dict)}


def _hidden_from_patients() -> frozenset[str]:
    """The labels that keep something from the patient, or from most of the staff."""
    return frozenset({"NOPAT", "NOAUTH", "TBOO", "V", "R"})


def _standings(transaction: Transaction, found: Found) -> Iterator[Json]:
    names = [f"{type}/{id}" for type, id in found.references]
    for start in range(0, len(names), erasing.AT_ONCE):
        yield from rows.copied(transaction.connection, names[start : start + erasing.AT_ONCE])


def _audit(
    places: Places, settings: Settings, found: Found, base: str, folder: Path
) -> tuple[list[Look], int]:
    """Write who has read the record; returns the newest looks for the page, and how many there are."""
    looks: list[Look] = []
    count = 0
    files = _Files(folder)
    try:
        for id in sorted(found.patients):
            for one in finding.every(places, Wanted(patient=id)):
                for made in fhir.resources(one, base, id):
                    files.line("", "audit", made)
                    count += 1
                event = one.event
                at = from_milliseconds(one.at).astimezone(settings.site.zone).isoformat(" ", "seconds")
                named = event.departments or (event.who if event.kind == "program" else "")
                if len(looks) < _SHOWN:
                    looks.append(Look(at, f"{event.kind} {named}".strip(), event.interaction))
    finally:
        files.close()
    return looks, count


def _name(patient: Version) -> str:
    names = patient.data.get("name")
    first = names[0] if isinstance(names, list) and names and isinstance(names[0], dict) else {}
    given = first.get("given")
    parts = [*(given if isinstance(given, list) else []), first.get("family")]
    told = " ".join(part for part in parts if isinstance(part, str))
    return str(first.get("text") or told or "a patient")


@contextmanager
def _placed(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` once it is whole."""
    target = out.absolute()
    if target.exists() or target.is_symlink():
        raise ConfigError(f"{out} is there already; name a folder that is not.")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", dir=target.parent))
        try:
            yield folder
            _sync([folder, *(path for path in folder.rglob("*") if path.is_dir())])
            folder.rename(target)
            _sync([target.parent])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}); name another folder.") from None


def _sync(folders: Iterable[Path]) -> None:
    """Wait until the names in these folders are on the disk."""
    for folder in folders:
        with suppress(OSError):
            number = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)

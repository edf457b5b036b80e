"""Finds everything in the log that is about one patient, in every version of it.

The search index knows the newest versions only, and none of what was deleted. So the whole log is read for
the patient's id: that takes as long as the log is big.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from fhir_coprod.bulk import patients
from fhir_coprod.errors import Conflict, NotFound
from fhir_coprod.store import Transaction, Version, erasing, index
from fhir_coprod.store.versions import COLUMNS, from_row
from fhir_coprod.sync import erasing as synced

Reference = tuple[str, str]
_BINARY: Final = re.compile(rb"Binary/([A-Za-z0-9\-.]{1,64})")
_ESCAPE: Final = rb"\u00"
"""A name may be written with escapes."""


class Shared(NamedTuple):
    """A resource that is about others too: its versions that name the patient, the oldest first.

    is_now: whether the newest one does
    """

    versions: list[Version]
    is_now: bool

    @property
    def reference(self) -> str:
        return self.versions[0].reference


class Found(NamedTuple):
    """What is about a patient.

    patients: ids of the Patients that are this patient: itself, and those that were merged into it
    alone:    all versions of what is about nobody else, in the order of the log
    shared:   what is about others too
    """

    patients: frozenset[str]
    alone: list[Version]
    shared: list[Shared]

    @property
    def references(self) -> list[Reference]:
        return sorted({(version.type, version.id) for version in self.alone})


def find(transaction: Transaction, patient: str, base: str) -> Found:
    """Everything about the Patient with this id.

    base: the public address of the endpoint, without a slash at its end

    Raises NotFound if there never was such a Patient, and Conflict if it was merged into another.
    """
    if transaction.get("Patient", patient) is None:
        raise NotFound("There is no Patient with this id, and nothing about one; look for the id again.")
    if into := synced.successor(transaction.connection, patient):
        raise Conflict(f"This Patient was merged into Patient/{into}; name that one.")
    own = frozenset({patient, *synced.given_up_for(transaction.connection, patient)})
    look = _Look(transaction, own, base)
    texts = [id.encode() for id in sorted(own)]
    named = {
        (version.type, version.id)
        for version in erasing.holding(transaction, [*texts, _ESCAPE])
        if look.names(version)
    }
    found = look.sorted(named | {("Patient", id) for id in own})
    more = set(_provenances(transaction, found.references)) - named
    more |= set(_binaries(transaction, found)) - named
    return look.sorted(named | more | {("Patient", id) for id in own}) if more else found


class _Look:
    """Whom versions are about."""

    def __init__(self, transaction: Transaction, own: frozenset[str], base: str) -> None:
        self._transaction = transaction
        self._own = own
        self._base = base

    def whose(self, version: Version) -> frozenset[str]:
        """The patients whom a version is about; if it belongs to none by its type, those that it names."""
        if version.deleted:
            return frozenset()
        return patients.of(version, self._base, self._newest) or self._named(version)

    def _newest(self, type: str, id: str) -> Version | None:
        """The newest version that is no deletion."""
        newest = self._transaction.get(type, id)
        if newest is None or not newest.deleted:
            return newest
        return next((one for one in self._transaction.history(type, id) if not one.deleted), None)

    def _named(self, version: Version) -> frozenset[str]:
        return frozenset(
            id for type, id in patients.references(version.data, self._base) if type == "Patient"
        )

    def names(self, version: Version) -> bool:
        """Whether a version is about the patient, or refers to them."""
        return not version.deleted and bool(self._own & (self.whose(version) | self._named(version)))

    def sorted(self, references: Iterable[Reference]) -> Found:
        alone: list[Version] = []
        shared: list[Shared] = []
        for type, id in sorted(references):
            newest = self._transaction.get(type, id)
            versions = list(self._transaction.history(type, id))[::-1]
            about = frozenset[str]().union(*map(self.whose, versions))
            if about <= self._own or (type == "Binary" and not about):
                alone += versions
            else:
                naming = [version for version in versions if self.names(version)]
                is_now = newest is not None and self.names(newest)
                shared.append(Shared(naming, is_now))
        alone.sort(key=lambda version: version.position)
        return Found(self._own, alone, [one for one in shared if one.versions])


def _provenances(transaction: Transaction, references: Sequence[Reference]) -> Iterator[Reference]:
    """The Provenances of these resources: they may name nobody."""
    session = transaction.session
    param = index.number("Provenance", "target")
    for start in range(0, len(references), erasing.AT_ONCE):
        some = set(references[start : start + erasing.AT_ONCE])
        condition, values = session.among("f.target_id", sorted({id for _, id in some}))
        rows = session.rows(
            "SELECT r.id, f.target_type, f.target_id FROM reference f JOIN resource r ON r.key = f.key"  # noqa: S608
            f" WHERE f.param = ? AND {condition}",
            (param, *values),
        )
        yield from (("Provenance", id) for id, type, target in rows if (type, target) in some)


def _binaries(transaction: Transaction, found: Found) -> Iterator[Reference]:
    """The Binaries to which only what is about the patient refers: they name nobody themselves."""
    own = {version.position for version in found.alone}
    ids = {id for version in found.alone for id in _BINARY.findall(version.body)}
    for id in sorted(ids):
        if transaction.get("Binary", id.decode()) is None:
            continue
        elsewhere = erasing.holding(transaction, [b"Binary/" + id])
        if all(version.position in own or version.type == "Binary" for version in elsewhere):
            yield "Binary", id.decode()


def versions_of(
    transaction: Transaction, references: Collection[Reference]
) -> Iterator[tuple[Version, bytes]]:
    """All versions of these resources, in the order of the log, each with the bytes that were received."""
    session = transaction.session
    for type, id in sorted(references):
        rows = session.rows(
            f"SELECT x.body, {COLUMNS} FROM version v LEFT JOIN received x ON x.position = v.position"  # noqa: S608
            " WHERE v.type = ? AND v.id = ? ORDER BY v.version",
            (type, id),
        )
        for received, *row in rows:
            yield from_row(row), bytes(received or b"")

"""Checksums of what was taken from an EHR: of a record's row, of the resource it is in, and of its bytes."""

from __future__ import annotations

from fhir_coprod.store.seals import seal
from fhir_coprod.sync.staging.references import Record


def taken(record: Record, version: str, updated: str, hash: str, *, deleted: bool) -> int:
    """`crosswalk.seal`: all columns but the resource it is in, and what is still to be done with it."""
    return seal((*record, version, updated, hash, int(deleted)))


def linked(record: Record, id: str) -> int:
    """`crosswalk.linked`: the resource it is in."""
    return seal((*record, id))


def received(record: Record, body: bytes, marks: bytes | None) -> int:
    """`received_base.seal`: all its other columns."""
    return seal((*record, body, marks))

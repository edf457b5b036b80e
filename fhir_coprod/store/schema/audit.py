"""Defines the tables of the audit: who was shown what, and who changed it. See `fhir_coprod.audit`.

    audit_call        one row per call that was answered or refused, the link of a chain of hashes
    audit_resource    one row per resource and patient that a call was about
    audit_checkpoint  what a month that was removed ended with, for each chain

`month` is a number such as 202612. On PostgreSQL the first two have one partition for each month. On SQLite
those of the store hold what was written; what was read is in a file for each month, beside the store.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Index, Integer, LargeBinary, Table

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

_BY_MONTH: dict[str, Any] = {"sqlite_with_rowid": False, "postgresql_partition_by": "RANGE (month)"}


def _key(name: str, kind: Any) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


call = Table(
    "audit_call",
    metadata,
    _key("month", Integer()),
    _key("chain", Name),
    _key("number", Long),  # from 1 on, without gaps
    column("at", Long),  # milliseconds; never falls within a chain
    column("kind", Name),  # of caller, as `Rights.kind`
    column("who", Name),
    column("session", Name),
    column("address", Name),
    column("departments", Name),  # separated by spaces
    column("purpose", Name),  # BTG, or nothing
    column("interaction", Name),
    column("type", Name),  # what the path named
    column("id", Name),
    column("version", Name),
    column("status", Integer()),  # of the answer, as HTTP has it
    column("query", Name),  # without values that may say who somebody is
    column("hash", LargeBinary()),  # of this row without it, its resources, and the hash before
    Index("audit_call_at_idx", "month", "at", "chain", "number"),
    **_BY_MONTH,
)

resource = Table(
    "audit_resource",
    metadata,
    _key("month", Integer()),
    _key("chain", Name),
    _key("number", Long),
    _key("place", Integer()),  # in the answer
    column("at", Long),
    column("type", Name),
    column("id", Name),
    column("version", Long),  # 0: asked for, and not shown
    column("patient", Name),  # id of the Patient it is about; "" if it is about none
    Index("audit_resource_patient_idx", "patient", "month", "at", "chain", "number"),
    **_BY_MONTH,
)

checkpoint = Table(
    "audit_checkpoint",
    metadata,
    _key("month", Integer()),
    _key("chain", Name),
    column("number", Long),  # the last one that was removed
    column("hash", Name),  # its hash, hexadecimal
    column("calls", Long),  # how many were removed
    column("at", Long),
)

BY_MONTH: Final = (call, resource)

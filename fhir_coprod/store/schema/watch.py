"""Defines the database table of fhir_coprod.watch.

standing    what the watch last found about each referral, and when to look at it again
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, text

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

standing = Table(
    "standing",
    metadata,
    Column("referral", Name, primary_key=True),  # ServiceRequest/id or Communication/id
    column("ehr", Name),  # the EHR it came from; empty if none
    column("interest", Integer()),  # 0 closed or none, 1 closed as far as seen, 2 moving, 3 stalled, 4 fault
    column("old", Boolean()),  # already stalled when its EHR was first read
    column("stage", Name),
    column("since", Long),  # milliseconds
    column("due", Long),  # when it or its alerts may change just because time passes; milliseconds
    column("body", LargeBinary()),  # the standing itself, in MessagePack
    Column("facts", LargeBinary()),  # the facts it was judged by; NULL: read them from the record
    Index("standing_due_idx", "due"),
)
Index(
    "standing_interest_idx",
    standing.c.interest,
    standing.c.referral,
    sqlite_where=standing.c.interest > 0,
    postgresql_where=standing.c.interest > 0,
)
Index("standing_old_idx", standing.c.ehr, sqlite_where=text("old"), postgresql_where=text("old"))

"""Defines the database tables of fhir_coprod.watch.

standing    what the watch last found about each order, and when to look at it again
share       by day, EHR and code: of how many orders the watch sees how many as no referral
habit       by EHR, department and code: how many of the referrals that tell of a step show it
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table

from fhir_coprod.store.schema.columns import Long, Name, column, metadata, partial_index

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
    column("scope", Name),  # referral, diagnostic, out, unclear; empty: there is no order
    column("why", Name),  # why it is in that scope
    column("thing", Name),  # the first code of what is asked for, or the text
    column("written", Long),  # milliseconds
    column("counted", Name),  # the first rule that is counted and raises no alert; empty if none is
    column("department", Name),  # who can move that
    column("waits", Long),  # since when; milliseconds
    column("asked", Name),  # the department that was asked
    column("steps", Name),  # what it tells of the steps that are in use there
    Column("seal", Long),  # of all other columns but `due`; NULL: not judged yet, or before there were any
    Column("due_seal", Long),  # of `referral` and `due` as it was judged
    Index("standing_due_idx", "due"),
)
partial_index("standing_interest_idx", "interest > 0", standing.c.interest, standing.c.referral)
partial_index(
    "standing_apart_idx",
    "scope IN ('diagnostic', 'out', 'unclear')",
    *(standing.c[name] for name in ("scope", "why", "stage", "counted", "department", "waits", "written")),
)
partial_index(
    "standing_counted_idx", "counted <> ''", standing.c.counted, standing.c.department, standing.c.waits
)
partial_index("standing_old_idx", "old", standing.c.ehr)
Index("standing_written_idx", *(standing.c[name] for name in ("written", "ehr", "thing", "scope")))
share = Table(
    "share",
    metadata,
    Column("day", Integer(), primary_key=True, autoincrement=False),  # proleptic ordinal, at the site
    Column("ehr", Name, primary_key=True),
    Column("thing", Name, primary_key=True),
    column("orders", Integer()),
    column("hidden", Integer()),  # of these: out of scope or unclear
)
habit = Table(
    "habit",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("asked", Name, primary_key=True),  # empty: all departments
    Column("thing", Name, primary_key=True),  # empty: all codes
    Column("step", Name, primary_key=True),
    column("referrals", Integer()),
    column("shown", Integer()),
    column("use", Name),  # used, mixed, absent
    column("was_used", Boolean()),  # it has been in use before
)

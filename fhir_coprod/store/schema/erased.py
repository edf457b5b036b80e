"""Defines the tables of what was erased on a patient's behalf: what is left of it names nobody.

erased_range   positions of the log whose versions were erased: nobody misses them, or gets them
erased_record  records of EHRs that the sync does not take again, as keyed hashes
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

span = Table(
    "erased_range",
    metadata,
    Column("first", Long, primary_key=True, autoincrement=False),
    column("last", Long),  # included
)

record = Table(
    "erased_record",
    metadata,
    Column("hash", Name, primary_key=True),  # of EHR, type and id there, with the key in table setting
    column("at", Long),  # when it was erased; milliseconds
)

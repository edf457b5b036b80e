"""Tells which types are read by bulk export in a run, as a whole or by changes, and how else they can be.

Where a group is exported, nothing is read that would also show patients who are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from fhir_coprod.instants import last_updated
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.reading.shared import Reading
from fhir_coprod.sync.staging.feed import Feed


async def candidates(reading: Reading) -> list[TypePlan]:
    """The plans of the types that are read by export in this run."""
    found = []
    for plan in reading.plan.types if reading.plan.exports is not None else ():
        if plan.is_exported_first:
            feed = await reading.threaded(reading.sink.feed, reading.name, plan.type)
            if feed is not None and feed.first_success is not None:
                continue
        if plan.find == "bulk" or plan.is_exported_first:
            found.append(plan)
    return found


def otherwise(reading: Reading, plan: TypePlan) -> TypePlan:
    """The plan to read the type without an export; its find is "none" if there is no way."""
    find = plan.otherwise if plan.find == "bulk" else plan.find
    exports = reading.plan.exports
    is_group = exports is not None and exports.scope.startswith("Group/")
    if is_group and find not in ("by-patient", "by-reference"):
        find = "none"
    return replace(plan, find=find)


def can_be_searched(reading: Reading, plan: TypePlan) -> bool:
    """Whether there is another way than an export to the same records."""
    return otherwise(reading, plan).observable


def is_full_due(reading: Reading, plan: TypePlan, feed: Feed | None, *, wants_all: bool) -> bool:
    """Whether everything is to be exported: somebody asked for it, changes cannot be had, the last whole
    export did not have everything, or it is long ago."""
    if wants_all or plan.is_exported_first or not reading.plan.vendor.bulk.since:
        return True
    if feed is None or not feed.watermark:
        return True
    return reading.wishes.is_full_due(feed.last_full, datetime.now(UTC))


def since(reading: Reading, feeds: Sequence[Feed | None]) -> str:
    """From when on changes are to be exported: the earliest watermark, less the overlap."""
    mark = min(feed.watermark for feed in feeds if feed is not None)
    return last_updated(datetime.fromisoformat(mark) - reading.overlap)

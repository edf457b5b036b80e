"""Pulls the records of one EHR page by page, as its plan says, and hands them on in batches.

Types are read in parallel. The pages of one type are read in order, each one while the page before it is
being staged. A type's watermark is written with its last page, in one transaction. So after a kill, the next
run reads that type again from the old watermark, and finds what was already staged unchanged. A first pull,
and one that was cut off by a quota or a failure, goes on where it was.
"""

from __future__ import annotations

import asyncio

from fhir_coprod.errors import EhrError, said
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.reading import listing, singly
from fhir_coprod.sync.reading.shared import Reading

TYPES_AT_ONCE = 4


async def pull(reading: Reading) -> None:
    """Read all types of the plan. If one fails, its feed is marked as failed, and the others go on."""
    limit = asyncio.Semaphore(TYPES_AT_ONCE)

    async def one(plan: TypePlan) -> None:
        async with limit:
            await _type(reading, plan)

    types = reading.plan.types
    by_reference = [p for p in types if p.find == "by-reference"]
    listed = [p for p in types if p.observable and p.find != "by-reference"]
    # Patients first: some servers can list the other types only patient by patient.
    await asyncio.gather(*(one(p) for p in listed if p.type == "Patient"))
    await singly.named_patients(reading, by_reference)
    await asyncio.gather(*(one(p) for p in listed if p.type != "Patient"))
    await singly.by_reference(reading, by_reference)


async def _type(reading: Reading, plan: TypePlan) -> None:
    try:
        await listing.read(reading, plan)
    except EhrError as error:
        await reading.fail(plan.type, "failed", error.message)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one type, the others go on
        await reading.fail(plan.type, "failed", f"{reading.name}: {said(error)}")

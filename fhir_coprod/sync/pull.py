"""Pulls the records of one EHR page by page, as its plan says, and hands them on in batches.

Types are read in parallel. The pages of one type are read in order, each one while the page before it is
being staged. A type's watermark is written with its last page, in one transaction. So after a kill, the next
run reads that type again from the old watermark, and finds what was already staged unchanged. A first pull,
and one that was cut off by a quota or a failure, goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from fhir_coprod.errors import EhrError, said
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.reading import exporting, listing, singly, ways
from fhir_coprod.sync.reading.shared import Reading

TYPES_AT_ONCE = 4


async def pull(reading: Reading) -> None:
    """Read all types of the plan. If one fails, its feed is marked as failed, and the others go on."""
    limit = asyncio.Semaphore(TYPES_AT_ONCE)

    async def one(plan: TypePlan) -> None:
        async with limit:
            await _type(reading, plan)

    async def several(plans: Iterable[TypePlan]) -> None:
        await asyncio.gather(*(one(plan) for plan in plans))

    exported = await ways.candidates(reading)
    types = [p for p in reading.plan.types if p.observable and p not in exported]
    if not exported:
        await exporting.give_up(reading)
        await _in_order(reading, types, several)
        return
    # An export takes long; what does not depend on the patients in it is read meanwhile.
    export = asyncio.create_task(exporting.read(reading, exported))
    try:
        at_once = [p for p in types if p.find not in ("by-patient", "by-reference") and p.type != "Patient"]
        await several(at_once)
        otherwise = await export
    finally:
        export.cancel()
    later = [p for p in types if p not in at_once]
    await _in_order(reading, [*otherwise, *later], several)


async def _in_order(
    reading: Reading, types: Sequence[TypePlan], several: Callable[[Iterable[TypePlan]], Awaitable[None]]
) -> None:
    """Read patients, then what is listed, then what others refer to."""
    by_reference = [p for p in types if p.find == "by-reference"]
    listed = [p for p in types if p.observable and p.find != "by-reference"]
    # Patients first: some servers can list the other types only patient by patient.
    await several(p for p in listed if p.type == "Patient")
    await singly.named_patients(reading, by_reference)
    await several(p for p in listed if p.type != "Patient")
    await singly.by_reference(reading, by_reference)


async def _type(reading: Reading, plan: TypePlan) -> None:
    try:
        await listing.read(reading, plan)
    except EhrError as error:
        await reading.fail(plan.type, "failed", error.message)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one type, the others go on
        await reading.fail(plan.type, "failed", f"{reading.name}: {said(error)}")

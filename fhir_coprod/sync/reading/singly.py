"""Reads records by themselves: those no longer listed, named in the settings, or referred to by others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlencode

from fhir_coprod.errors import EhrError
from fhir_coprod.sync.ehr import paging
from fhir_coprod.sync.ehr.paging import Entry
from fhir_coprod.sync.ehr.plan import TypePlan
from fhir_coprod.sync.ehr.search import GONE
from fhir_coprod.sync.ehr.sending import Answer
from fhir_coprod.sync.ehr.vendor import Codes
from fhir_coprod.sync.reading.shared import Reading, many
from fhir_coprod.sync.reading.taking import Seen
from fhir_coprod.sync.staging.feed import Success
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import Batch, Received

BAD_REQUEST, SERVER_FAULT = 400, 500
REFUSALS = (401, 403)
AT_ONCE = 6
"""Records read at the same time."""
IDS_AT_ONCE = 50
"""Records to ask for in one request, if the server can search by id: their ids must fit into one URL."""
REFERENCE_ROUNDS = 4
"""How many steps of references to follow (role → organisation → its parent)."""


@dataclass
class Found:
    """What came of reading records by themselves."""

    received: list[Received] = field(default_factory=list)
    gone: list[Record] = field(default_factory=list)
    """Those that the EHR says do not exist, or not any more."""
    unseen: list[tuple[str, str]] = field(default_factory=list)
    """Those that it did not show: reference, and why."""
    given_up: list[tuple[Record, Record]] = field(default_factory=list)
    """Patients in whose place it gave another one, as EHRs do after a merge: asked for, and given."""

    def into(self, batch: Batch) -> None:
        """Add what is to be staged besides the records themselves."""
        batch.gone += self.gone
        batch.given_up += self.given_up


async def read_each(reading: Reading, type: str, ids: Sequence[str]) -> Found:
    """Read records one by one."""
    limit = asyncio.Semaphore(AT_ONCE)
    found = Found()
    codes = reading.plan.vendor.codes

    async def one(id: str) -> None:
        async with limit:
            try:
                answer = await reading.client.get(f"{type}/{id}")
            except EhrError:
                found.unseen.append((f"{type}/{id}", "no answer"))
                return
        if answer.status in GONE or _says_gone(answer, codes):
            found.gone.append(Record(reading.name, type, id))
        elif answer.status == 200 and not answer.markup:
            entry = Entry(answer.body)
            if type == "Patient" and entry.id not in ("", id) and _is_patient(entry):
                asked, given = Record(reading.name, type, id), Record(reading.name, type, entry.id)
                found.given_up.append((asked, given))
            found.received.append(Received(entry.resource, f"{type}, read by itself", entry.document))
        else:  # refused, failed, or the answer is not a record
            why = f"the server answered {answer.markup or answer.status}"
            found.unseen.append((f"{type}/{id}", why))

    results = await asyncio.gather(*(one(id) for id in ids), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    found.gone.sort()
    found.unseen.sort()
    found.given_up.sort()
    return found


def _says_gone(answer: Answer, codes: Codes) -> bool:
    """Whether an error answer says by the vendor's codes that the record is deleted, and nothing else.

    A refusal says only that we may not look, a fault of the server only that it could not.
    """
    if not BAD_REQUEST <= answer.status < SERVER_FAULT or answer.status in REFUSALS:
        return False
    return not answer.codes().isdisjoint(codes.gone) and answer.only_says({*codes.gone, *codes.ignore})


def _is_patient(entry: Entry) -> bool:
    return entry.document is not None and entry.document.type == "Patient"


async def named_patients(reading: Reading, plans: Sequence[TypePlan]) -> None:
    """Read the patients that the settings name, if the server does not list any."""
    plan = next((plan for plan in plans if plan.type == "Patient"), None)
    if plan is None:
        return
    ids = reading.client.ehr.patients
    known = await reading.threaded(reading.sink.living, reading.name, "Patient")
    if not ids and not known:
        reason = "the server lists no patients; name those to follow in `patients`"
        await reading.fail("Patient", "behind", reason)
    gone = await _take_each(reading, plan, sorted({*ids, *known}))
    lost = sorted({record.id for record in gone} & set(ids))
    if lost:
        are = "is" if len(lost) == 1 else "are"
        reading.mend(
            "Patient",
            f"{many(len(lost), 'id')} in `patients` of the settings {are} not at this server; correct it",
            [(f"Patient/{id}", "not at this server") for id in lost],
        )


async def by_reference(reading: Reading, plans: Sequence[TypePlan]) -> None:
    """Read the known records again, then those that others refer to, until no new ones turn up."""
    types = [plan.type for plan in plans]
    tried: set[Record] = set()
    for plan in plans:
        if plan.type != "Patient":
            ids = await reading.threaded(reading.sink.living, reading.name, plan.type)
            tried |= {Record(reading.name, plan.type, id) for id in ids}
            await _take_each(reading, plan, sorted(ids))
    for _ in range(REFERENCE_ROUNDS):
        missing = await reading.threaded(reading.sink.missing, reading.name, types)
        if not missing - tried:
            break
        for plan in plans:
            await _take_each(reading, plan, sorted(r.id for r in missing - tried if r.type == plan.type))
        tried |= missing
    for type in types:
        if type not in reading.incomplete:
            done = Success("", datetime.now(UTC), is_full=True, began=reading.began)
            await reading.put(Batch(reading.name, type, feed=done))


async def _take_each(reading: Reading, plan: TypePlan, ids: Sequence[str]) -> list[Record]:
    """Take these records; returns those that are not there."""
    type = plan.type
    seen = Seen()
    gone: list[Record] = []
    for start in range(0, len(ids), IDS_AT_ONCE):
        batch = Batch(reading.name, type)
        seen.pages += 1
        some = ids[start : start + IDS_AT_ONCE]
        taking = reading.taking(plan, is_listing=True, accepts_older=reading.wishes.full)
        try:
            together = await _search_ids(reading, plan, some)
            found = await read_each(reading, type, [id for id in some if id not in together])
            batch.given_up += found.given_up
            await reading.threaded(taking.sort, [*together.values(), *found.received], batch, seen)
            await _complete(reading, plan, seen, batch, [])
        except EhrError as error:
            await reading.fail(type, "failed", error.message)
            return gone
        gone += found.gone
        await reading.put(batch)
        reading.tell(type, seen, len(ids))
        if found.unseen:
            await reading.fail(type, "behind", f"{many(len(found.unseen), 'record')} could not be read")
            reading.sink.name_gaps(reading.name, type, found.unseen)
    await _bury(reading, type, gone)
    return gone


async def _bury(reading: Reading, type: str, gone: Sequence[Record]) -> None:
    """Delete what is not there any more, unless it is too much to believe."""
    if not gone:
        return
    living = await reading.threaded(reading.sink.living, reading.name, type)
    dead = [record for record in gone if record.id in living]
    if too_many := vanished(reading, len(dead), len(living)):
        await reading.fail(type, "behind", too_many)
    elif dead:
        await reading.put(Batch(reading.name, type, gone=dead))


def vanished(reading: Reading, number: int, living: int) -> str:
    """What to say if more of the living records are gone than may vanish without a person saying so; "" if
    they are not."""
    if reading.wishes.may_vanish(number, living):
        return ""
    return (
        f"{number} of {many(living, 'record')} are not there any more; nothing was deleted here. If the EHR "
        f"has been emptied by mistake, wait until it is back; if they are really gone, run: "
        f"fhir-coprod sync {reading.name} --full --accept-deletions"
    )


async def complete(reading: Reading, plan: TypePlan, seen: Seen, batch: Batch) -> tuple[int, int]:
    """Read the records that came only in part by themselves. See `Taking.complete` for what it returns."""
    if not seen.partial:
        return 0, 0
    taking = reading.taking(plan, is_listing=True, accepts_older=False)
    found = await read_each(reading, plan.type, await reading.threaded(taking.outdated, seen))
    found.into(batch)
    return await _complete(reading, plan, seen, batch, found.received)


async def _complete(
    reading: Reading, plan: TypePlan, seen: Seen, batch: Batch, found: Sequence[Received]
) -> tuple[int, int]:
    if not seen.partial:
        return 0, 0
    taking = reading.taking(plan, is_listing=True, accepts_older=False)
    for record in batch.gone:
        seen.partial.pop(record.id, None)
    result = await reading.threaded(taking.complete, seen, found, batch)
    seen.partial.clear()
    return result


async def _search_ids(reading: Reading, plan: TypePlan, ids: Sequence[str]) -> dict[str, Received]:
    """Get several records with one request, if the server can search by id.

    The caller reads the missing ones by themselves: only that tells why they are missing.
    """
    if not plan.by_id or len(ids) < 2:
        return {}
    search = f"{plan.type}?{urlencode({'_id': ','.join(ids), **reading.plan.vendor.parameters})}"
    try:
        answer = await reading.client.get(f"{search}&_count={len(ids)}")
        if answer.status == BAD_REQUEST:  # some take nothing beside the ids
            answer = await reading.client.get(search)
        entries = paging.read(answer.body).entries if answer.status == 200 else ()
    except (EhrError, paging.NotAPage):
        return {}
    position = f"{plan.type}, searched by id"
    received = {e.id: Received(e.resource, position, e.document) for e in entries if e.resource}
    return {id: received[id] for id in ids if id in received}

"""`$import`: NDJSON with resources of any type, stored line by line beside the requests.

The body itself is the file. Nothing is fetched from an address that somebody names: this server would do so
from within the hospital's network. Sent again, it changes nothing more: resources keep their ids, and one
without an id gets the same one for the same content.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from fhir_coprod.access.admission import UNCHANGEABLE
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.interactions import allowed, bulk_files
from fhir_coprod.bulk import folder, importing
from fhir_coprod.bulk.allowed import asked_by, owner, require_import
from fhir_coprod.bulk.folder import Folder
from fhir_coprod.bulk.importing import Job, decode, encode
from fhir_coprod.errors import BadRequest, CoprodError, NotAllowed, NotFound, TooLarge, UnsupportedMediaType
from fhir_coprod.files.reading import Limits
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Transaction, bulk_jobs
from fhir_coprod.store.bulk_jobs import IMPORT, BulkJob

_TYPES = frozenset({"application/fhir+ndjson", "application/ndjson", "application/x-ndjson"})
_ROOM_BYTES = 16_000_000
"""How often it is looked whether the disk has room."""
COUNTS: Final = "import-counts"
"""The extension of the manifest with what became of the lines."""


class ImportFailed(CoprodError):
    """An import could not be done; the message says why."""


async def import_(call: Call, endpoint: Endpoint) -> Answer:
    """Take the body into a file, write the import down, and begin it."""
    bulk_files.require_offered(endpoint)
    rights = call.caller.rights
    require_import(rights)
    if call.receive is None:
        raise BadRequest("$import is not an entry of a Bundle; send it by itself.")
    if call.body_type not in _TYPES:
        raise UnsupportedMediaType(
            "Send the resources themselves, one in each line, with Content-Type: application/fhir+ndjson;"
            " files at other addresses are not fetched."
        )
    if call.headers.get("content-encoding", "identity").strip().lower() not in ("identity", "gzip"):
        raise UnsupportedMediaType("The body may be compressed with gzip only; send it so, or plain.")
    await bulk_files.sweep(endpoint)
    settings = endpoint.settings.export
    id, name = str(uuid.uuid4()), f"{secrets.token_hex(16)}.ndjson"
    moment = to_milliseconds(now())
    job = Job(name, 0, moment, f"{call.base}/$import")
    until = moment + round(endpoint.settings.limits.async_seconds * 1000) + 60_000
    add = partial(bulk_jobs.add, table=IMPORT, most=settings.jobs, most_of_one=settings.jobs_per_client)
    # Before the body is read: its place is taken, and nobody sweeps its file away.
    await endpoint.write(partial(add, job=BulkJob(id, owner(rights), until, True, encode(job))))
    try:
        files = bulk_files.folder_of(endpoint)
        await asyncio.to_thread(files.make, id)
        job.size = await _received(call, files, files.of(id) / name, settings.import_bytes)
        kept_until = to_milliseconds(now()) + round(settings.hours * 3_600_000)
        save = partial(bulk_jobs.save, table=IMPORT, id=id, body=encode(job), until=kept_until, ended=False)
        await endpoint.write(save)
    except BaseException:
        await asyncio.shield(bulk_files.take_back(endpoint, IMPORT, id))
        raise
    begin(endpoint, id)
    place = f"{call.base}/_import/{id}"
    told = f"Ask {place} how far it is, by GET; DELETE it there when you have read what came of it."
    return replace(bulk_files.said(told, 202), headers={"content-location": place})


async def _received(call: Call, files: Folder, path: Path, limit: int) -> int:
    """Write the body into a file as it comes; its length. Raises TooLarge, BadRequest or Unwritable."""
    announced = call.headers.get("content-length", "")
    size = looked = 0
    await asyncio.to_thread(files.require_room)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        more = True
        while more:
            message = await call.receive()
            if message["type"] == "http.disconnect":
                raise BadRequest("The connection ended before the body was complete; send it again.")
            piece, more = message.get("body", b""), message.get("more_body", False)
            size += len(piece)
            if size > limit or (announced.isdecimal() and int(announced) > limit):
                raise TooLarge(
                    f"$import takes {limit:,} bytes (setting export.import_bytes); split the file."
                )
            try:
                file.write(piece)
            except OSError as error:
                raise folder.no_room(error) from None
            if size - looked > _ROOM_BYTES:
                looked = size
                await asyncio.to_thread(files.require_room)
        try:
            await asyncio.to_thread(_make_lasting, file)
        except OSError as error:
            raise folder.no_room(error) from None
    return size


def _make_lasting(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def begin(endpoint: Endpoint, id: str) -> None:
    """Work on an import beside the requests, unless that is under way."""
    settings = endpoint.settings
    limits = Limits(settings.limits.record_bytes, settings.limits.elements)

    def work(is_over: Callable[[], bool]) -> None:
        files = bulk_files.folder_of(endpoint)
        hours = settings.export.hours
        kept = bulk_jobs.find(endpoint.store, IMPORT, id)
        if kept is None:
            return
        importing.run(
            endpoint.store,
            files,
            id,
            limits=limits,
            hours=hours,
            rule=_rule,
            after=endpoint.auditing.noting_import(asked_by(kept.owner), id),
            is_over=is_over,
        )

    bulk_files.start(endpoint, id, work)


def _rule(transaction: Transaction, document: Document, id: str) -> None:
    """Refuse what a PUT of the resource would be refused for."""
    if document.type in UNCHANGEABLE:
        raise NotAllowed(f"{document.type} is written by this server alone; leave it out of the import.")
    allowed.protect(document.type, id)
    before = transaction.get(document.type, id)
    allowed.check_transition(transaction, before if before and not before.deleted else None, document)


async def begin_all(endpoint: Endpoint) -> None:
    """Go on with the imports that a process has left when it ended."""
    for id in await asyncio.to_thread(bulk_jobs.unended, endpoint.store, IMPORT):
        begin(endpoint, id)


async def _own(call: Call, endpoint: Endpoint) -> tuple[BulkJob, Job]:
    kept = await bulk_files.own(call, endpoint, IMPORT)
    require_import(call.caller.rights)
    return kept, decode(kept.body)


async def status(call: Call, endpoint: Endpoint) -> Answer:
    """GET _import/[id]: 202 as long as it is not done, then 200 with what came of it."""
    kept, job = await _own(call, endpoint)
    if not kept.ended:
        begin(endpoint, kept.id)
        return bulk_files.unfinished("The import is not done yet; ask again later.", job.progress)
    if job.failed:
        raise ImportFailed(job.failed)
    address = f"{call.base}/_import/{kept.id}"
    rest = {
        "output": [],
        "error": bulk_files.items(job.files, "error", address),
        "extension": {COUNTS: msgspec.to_builtins(job.counts)},
    }
    return bulk_files.manifest(call, kept, job.received, job.request, rest)


async def cancel(call: Call, endpoint: Endpoint) -> Answer:
    """DELETE _import/[id]: end it, and forget what came of it. What was stored stays."""
    kept, _ = await _own(call, endpoint)
    return await bulk_files.take_back(endpoint, IMPORT, kept.id)


async def file(call: Call, endpoint: Endpoint) -> Answer:
    """GET _import/[id]/[file]: the OperationOutcomes of lines that could not be stored."""
    kept, job = await _own(call, endpoint)
    if not kept.ended:
        raise NotFound("What could not be stored is told when the import is done.")
    return await bulk_files.file_answer(call, endpoint, kept.id, job.files)

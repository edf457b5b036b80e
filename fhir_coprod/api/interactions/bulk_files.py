"""What exports and imports have in common over HTTP: whose they are, and their files."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Table

from fhir_coprod import jsontext
from fhir_coprod.api.answer import Answer, Part, outcome_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.failures import RETRY_SECONDS
from fhir_coprod.api.formats import http_date
from fhir_coprod.bulk import allowed, folder
from fhir_coprod.bulk.folder import Folder
from fhir_coprod.bulk.wanted import File
from fhir_coprod.errors import BadRequest, NotFound, Unsupported
from fhir_coprod.instants import from_milliseconds, instant
from fhir_coprod.jsontext import Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import bulk_jobs
from fhir_coprod.store.bulk_jobs import EXPORT, IMPORT, BulkJob

NDJSON = "application/fhir+ndjson"
_NOTHING = "There is nothing here: it was taken back, is too old, or is somebody else's."
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def folder_of(endpoint: Endpoint) -> Folder:
    """The files of all exports and imports."""
    settings = endpoint.settings
    return Folder(folder.place(settings), settings.export.spare_bytes)


def require_offered(endpoint: Endpoint) -> None:
    """Raise Unsupported where the settings say that there are none."""
    if not endpoint.settings.export.jobs:
        raise Unsupported("Exports and imports are switched off here (setting export.jobs).")


async def own(call: Call, endpoint: Endpoint, table: Table) -> BulkJob:
    """The one that a call names, if it is the caller's. Raises NotFound."""
    kept = await endpoint.in_thread(bulk_jobs.find, endpoint.store, table, call.id)
    if kept is None or kept.owner != allowed.owner(call.caller.rights):
        raise NotFound(_NOTHING)
    return kept


async def take_back(endpoint: Endpoint, table: Table, id: str) -> Answer:
    """Forget one with its files; the work on it ends, in whatever process."""
    endpoint.bulk.cancel(id)
    await endpoint.write(lambda transaction: bulk_jobs.forget(transaction, table, id))
    await asyncio.to_thread(folder_of(endpoint).remove, id)
    return said("Taken back.", 202)


def unfinished(sentence: str, progress: str) -> Answer:
    """The answer as long as one is not done."""
    headers = {"x-progress": progress, "retry-after": str(RETRY_SECONDS)}
    return replace(said(sentence, 202), headers=headers)


def manifest(call: Call, kept: BulkJob, milliseconds: int, request: str, rest: Json) -> Answer:
    """What came of one that is done.

    milliseconds: its transactionTime, since 1970
    rest: its lists of files, and what else there is to say
    """
    told = {
        "transactionTime": instant(from_milliseconds(milliseconds)),
        "request": request,
        "requiresAccessToken": call.caller.rights.kind != "local",
        **rest,
    }
    headers = {"expires": http_date(kept.until // 1000)}
    return Answer(200, jsontext.encode(told), headers=headers, format="application/json")


async def sweep(endpoint: Endpoint) -> None:
    """Forget what is too old, and remove the files of what is not known."""
    store = endpoint.store
    await endpoint.write(bulk_jobs.forget_old)

    def known() -> set[str]:
        return {*bulk_jobs.ids(store, EXPORT), *bulk_jobs.ids(store, IMPORT)}

    await asyncio.to_thread(folder_of(endpoint).sweep, known)


def start(endpoint: Endpoint, id: str, work: Callable[[Callable[[], bool]], None]) -> None:
    """Begin to work on one in a thread, unless that is under way; the thread is told when it is to end."""
    if endpoint.bulk.has(id):
        return

    async def begin() -> None:
        over = threading.Event()
        working = asyncio.ensure_future(asyncio.to_thread(work, over.is_set))
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            over.set()
            await working  # it needs the store, which may be closed next
            raise

    endpoint.bulk.start(id, begin)


def said(sentence: str, status: int) -> Answer:
    """A sentence that is no error."""
    return outcome_answer(Outcome((Issue("information", "informational", sentence),)), status)


def items(files: Sequence[File], kind: str, address: str) -> list[Json]:
    """The files of one kind as a manifest has them."""
    return [
        {"type": file.type, "url": f"{address}/{file.name}", "count": file.count}
        for file in files
        if file.kind == kind
    ]


async def file_answer(call: Call, endpoint: Endpoint, id: str, files: Sequence[File]) -> Answer:
    """One of these files, or the part of it that `Range` names."""
    if call.receive is None:
        raise BadRequest("A file is not an entry of a Bundle; fetch it by itself.")
    file = next((each for each in files if each.name == call.version and each.kind != "names"), None)
    if file is None:
        raise NotFound(_NOTHING)
    try:
        stream = await asyncio.to_thread((folder_of(endpoint).of(id) / file.name).open, "rb")
    except OSError:
        raise NotFound("The file is not on this machine any more; ask for the export again.") from None
    part = _part(call.headers.get("range", ""), file.bytes)
    if part is None:
        return Answer(200, part=Part(stream, 0, file.bytes), format=NDJSON)
    start, end = part
    if start >= end:
        stream.close()
        return Answer(416, headers={"content-range": f"bytes */{file.bytes}"})
    headers = {"content-range": f"bytes {start}-{end - 1}/{file.bytes}"}
    return Answer(206, part=Part(stream, start, end), format=NDJSON, headers=headers)


def _part(header: str, size: int) -> tuple[int, int] | None:
    """Where the part begins and ends that a Range header names; None for the whole: of several parts, or of
    what is no range of bytes (RFC 9110, 14.2)."""
    found = _RANGE.fullmatch(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    end = min(int(found[2]) + 1, size) if found[2] else size
    return int(found[1]), end

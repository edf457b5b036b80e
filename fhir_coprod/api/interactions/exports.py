"""`$export`: everything, all patients, or the members of a Group as files of NDJSON.

https://hl7.org/fhir/uv/bulkdata/export.html. The work is done beside the requests, by whichever process; its
files are for the one who asked, as long as that caller may still see all of it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from fhir_coprod import deadline, jsontext
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.interactions import bulk_files, export_asked, subset
from fhir_coprod.audit.events import patients_in
from fhir_coprod.bulk import allowed, exporting, patients
from fhir_coprod.bulk.wanted import Job, Level, Wanted, decode, encode
from fhir_coprod.errors import BadRequest, CoprodError, NotFound
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.store import bulk_jobs
from fhir_coprod.store.bulk_jobs import EXPORT, BulkJob

_WAITING_HOURS = 24.0
"""How long one is kept that nobody has begun."""


class ExportFailed(CoprodError):
    """An export could not be done; the message says why."""


async def export(call: Call, endpoint: Endpoint) -> Answer:
    """Write an export down, and begin it."""
    bulk_files.require_offered(endpoint)
    level: Level = "Group" if call.type == "Group" else "Patient" if call.type == "Patient" else ""
    rights = call.caller.rights
    wanted = export_asked.wanted(call, level, rights, endpoint.settings.site.zone)
    if level == "Group":
        await endpoint.in_thread(_require_group, endpoint, wanted)
    if wanted.patients is not None:
        wanted = await endpoint.in_thread(_only_known, endpoint, wanted, call.preferences.lenient)
    await bulk_files.sweep(endpoint)
    settings = endpoint.settings.export
    until = to_milliseconds(now()) + round(_WAITING_HOURS * 3_600_000)
    job = BulkJob(str(uuid.uuid4()), allowed.owner(rights), until, False, encode(Job(wanted)))
    add = partial(
        bulk_jobs.add, table=EXPORT, job=job, most=settings.jobs, most_of_one=settings.jobs_per_client
    )
    await endpoint.write(add)
    begin(endpoint, job.id)
    place = f"{call.base}/_export/{job.id}"
    told = f"Ask {place} how far it is, by GET; DELETE it there when you have fetched the files."
    return replace(bulk_files.said(told, 202), headers={"content-location": place})


def _require_group(endpoint: Endpoint, wanted: Wanted) -> None:
    group = endpoint.store.read("Group", wanted.group)
    patients.require_members(group)


def _only_known(endpoint: Endpoint, wanted: Wanted, is_lenient: bool) -> Wanted:
    """The export with those patients only who are here, and in the Group. Raises BadRequest for others."""
    given = wanted.patients or ()
    found = endpoint.store.newest("Patient", given)
    known = {id for id, version in found.items() if not version.deleted}
    if wanted.level == "Group":
        group = endpoint.store.read("Group", wanted.group)
        read = endpoint.store.newest
        moment = to_milliseconds(now())
        known &= patients.members(group, moment, wanted.base, lambda type, id: read(type, [id]).get(id))
    missing = len(set(given) - known)
    if not missing:
        return wanted
    told = (
        f"{missing} of {len(given)} values of patient name nobody who is here, or who is a member of the"
        " Group; leave them out."
    )
    if not is_lenient:
        raise BadRequest(told)
    kept = tuple(id for id in given if id in known)
    return msgspec.structs.replace(wanted, patients=kept, told=(*wanted.told, f"Left out: {told}"))


def begin(endpoint: Endpoint, id: str) -> None:
    """Work on an export beside the requests, unless that is under way."""
    settings = endpoint.settings

    def cut(body: bytes, elements: str) -> bytes:
        return subset.cut(body, export_asked.pairs_of(elements))

    def work(is_over: Callable[[], bool]) -> None:
        exporting.run(
            endpoint.store,
            bulk_files.folder_of(endpoint),
            id,
            cut=cut,
            zone=settings.site.zone,
            hours=settings.export.hours,
            is_over=is_over,
        )

    bulk_files.start(endpoint, id, work)


async def begin_all(endpoint: Endpoint) -> None:
    """Go on with the exports that a process has left when it ended."""
    for id in await asyncio.to_thread(bulk_jobs.unended, endpoint.store, EXPORT):
        begin(endpoint, id)


async def _own(call: Call, endpoint: Endpoint) -> tuple[BulkJob, Job]:
    """The export that a call names, if it is the caller's, and all of it may still be seen."""
    kept = await bulk_files.own(call, endpoint, EXPORT)
    job = decode(kept.body)
    allowed.require_export(call.caller.rights, job.wanted.types, job.wanted.level)
    return kept, job


async def status(call: Call, endpoint: Endpoint) -> Answer:
    """GET _export/[id]: 202 as long as it is not done, then 200 with the manifest."""
    kept, job = await _own(call, endpoint)
    if not kept.ended:
        begin(endpoint, kept.id)
        return bulk_files.unfinished("The export is not done yet; ask again later.", job.progress)
    if job.failed:
        raise ExportFailed(job.failed)
    address = f"{call.base}/_export/{kept.id}"
    rest = {
        "output": bulk_files.items(job.files, "output", address),
        "deleted": bulk_files.items(job.files, "deleted", address),
        "error": bulk_files.items(job.files, "error", address),
    }
    return bulk_files.manifest(call, kept, job.time, job.wanted.request, rest)


async def cancel(call: Call, endpoint: Endpoint) -> Answer:
    """DELETE _export/[id]: end it, and remove its files."""
    kept, _ = await _own(call, endpoint)
    return await bulk_files.take_back(endpoint, EXPORT, kept.id)


async def file(call: Call, endpoint: Endpoint) -> Answer:
    """GET _export/[id]/[file]: one of its files."""
    kept, job = await _own(call, endpoint)
    if not kept.ended:
        raise NotFound("The files are given out when the export is done.")
    answer = await bulk_files.file_answer(call, endpoint, kept.id, job.files)
    if answer.part is not None and endpoint.auditing.minds(call):
        # Whoever fetches a part of it is taken to have seen the whole.
        try:
            path = bulk_files.folder_of(endpoint).of(kept.id) / call.version
            answer.patients = await endpoint.in_thread(_patients, path, lane="wide search")
        except BaseException:
            answer.part.file.close()
            raise
    return answer


def _patients(path: Path) -> list[str]:
    """Ids of all patients whom a file of ours is about."""
    found: dict[str, None] = {}
    with path.open("rb") as lines:
        for line in lines:
            deadline.check()
            found |= dict.fromkeys(patients_in(line))
            if b'"Patient' in line:
                own = jsontext.decode(line)
                entries = own.get("entry", ()) if own["resourceType"] == "Bundle" else ()
                for entry in entries:  # of what was deleted
                    type, _, id = entry.get("request", {}).get("url", "").partition("/")
                    if type == "Patient":
                        found[id] = None
                if own["resourceType"] == "Patient":
                    found[own["id"]] = None
    return list(found)

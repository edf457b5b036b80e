"""Fetches the files of a bulk export onto our disk before any of them is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.exporter import Exporter, Lost, NoPlace
from fhir_coprod.sync.reading.shared import Reading
from fhir_coprod.sync.reading.waiting import Postponed
from fhir_coprod.sync.staging.exports import Exports, Held, Job, Left

AT_ONCE = 3
"""Files fetched at the same time: some servers have twenty thousand small ones, and count requests."""

Missing = dict[int, tuple[str, bool]]
"""Files that did not come, by number: why, and whether it is useless to try again."""


async def fetch(
    reading: Reading, exports: Exports, exporter: Exporter, job: Job, left: Left, *, is_last_try: bool
) -> Missing:
    """Fetch what is not here yet; returns the files that did not come.

    is_last_try: it was begun again already, so files that are gone again cost their types only

    Raises Postponed if it takes longer than a run may wait: what is here stays for the next one. Raises Lost
    if the EHR does not have the export any more, EhrError if there is no place for the files.
    """
    return await _Fetching(reading, exports, exporter, job, is_last_try).all(left)


@dataclass(frozen=True)
class _Fetching:
    reading: Reading
    exports: Exports
    exporter: Exporter
    job: Job
    is_last_try: bool

    @property
    def _name(self) -> str:
        return self.reading.name

    async def all(self, left: Left) -> Missing:
        wanted = [one for one in left.files if not one.is_here and (not one.type or one.type in left.types)]
        missing: Missing = {}
        if not wanted:
            return missing
        try:
            await self.reading.threaded(self.exports.make_folder, self._name, self.job)
        except OSError as error:
            folder = self.exports.folder(self._name, self.job)
            reason = f"{folder} cannot be made for its export ({error.strerror})"
            raise EhrError(f"{self._name}: {reason}; set sync.bulk_folder to another place.") from None
        refused = await self._some(wanted, missing)
        if refused:
            # Addresses expire; the manifest has fresh ones, or is gone as well.
            again = await self._readdressed(refused)
            fresh = {one.number for one in again}
            refused = {number: lost for number, lost in refused.items() if number not in fresh}
            refused |= await self._some(again, missing)
        for number, lost in refused.items():
            if lost.is_gone and not self.is_last_try:
                raise lost
            missing[number] = (self.reading.bare(lost.message), True)
        return missing

    async def _some(self, wanted: Sequence[Held], missing: Missing) -> dict[int, Lost]:
        """Fetch these files; returns those that are not there, or not for us."""
        limit = asyncio.Semaphore(AT_ONCE)
        refused: dict[int, Lost] = {}
        no_place = ""
        done = 0
        clock = self.reading.client.politeness.clock
        until = clock() + self.reading.wishes.bulk_wait.total_seconds()
        begun = 0

        async def one(held: Held) -> None:
            nonlocal begun, done, no_place
            async with limit:
                if begun >= AT_ONCE and clock() > until:
                    return
                begun += 1
                if no_place:  # there is none for this one either
                    missing[held.number] = (no_place, False)
                    return
                try:
                    await self.exporter.fetch(held.file.url, held.path, needs_token=self.job.needs_token)
                except Lost as lost:
                    refused[held.number] = lost
                    return
                except EhrError as error:
                    no_place = self.reading.bare(error.message) if isinstance(error, NoPlace) else ""
                    missing[held.number] = (self.reading.bare(error.message), isinstance(error, EhrAnswer))
                    return
                await self.reading.threaded(self.exports.fetched, self._name, held)
            done += 1
            self.reading.tell_export(done, f"{done} of {len(wanted)} files")

        async with asyncio.TaskGroup() as group:
            for held in wanted:
                group.create_task(one(held))
        if begun < len(wanted):
            raise Postponed(f"{100 * done // len(wanted)}%")
        return refused

    async def _readdressed(self, refused: Mapping[int, Lost]) -> list[Held]:
        """Those of these files that have another address in the manifest by now."""
        answer = await self.exporter.look(self.job.address)
        state = export.state(answer)
        if state in ("lost", "failed"):
            raise next(iter(refused.values()))
        if state != "complete":
            where = f"does not say where the files of its export are now ({answer.status})"
            raise EhrUnreachable(f"{self._name}: the server {where}.")
        parts = await self.exporter.manifests(self.job.address, answer)
        places = export.by_place(f for part in parts for f in part.files)
        again = []
        for held in await self.reading.threaded(self._held, refused):
            now = places.get(export.place(held.file))
            if now is not None and now.url != held.file.url:
                await self.reading.threaded(self.exports.moved, self._name, held, now.url)
                again.append(held._replace(file=now))
        return again

    def _held(self, numbers: Mapping[int, Lost]) -> list[Held]:
        found = self.exports.read(self._name)
        return [held for held in found[1].files if held.number in numbers] if found is not None else []

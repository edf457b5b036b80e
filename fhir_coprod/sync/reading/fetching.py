"""Fetches the files of a bulk export onto our disk before any of them is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fhir_coprod.errors import EhrAnswer, EhrError
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.exporter import Exporter, Lost
from fhir_coprod.sync.reading.shared import Reading
from fhir_coprod.sync.staging.exports import Exports, Held, Job, Left

AT_ONCE = 3
"""Files fetched at the same time: some servers have twenty thousand small ones, and count requests."""

Missing = dict[int, tuple[str, bool]]
"""Files that did not come, by number: why, and whether it is useless to try again."""


async def fetch(reading: Reading, exports: Exports, exporter: Exporter, job: Job, left: Left) -> Missing:
    """Fetch what is not here yet; returns the files that did not come.

    Raises Lost if the EHR does not have the export any more, EhrError if there is no place for the files.
    """
    return await _Fetching(reading, exports, exporter, job).all(left)


@dataclass(frozen=True)
class _Fetching:
    reading: Reading
    exports: Exports
    exporter: Exporter
    job: Job

    @property
    def _name(self) -> str:
        return self.reading.name

    async def all(self, left: Left) -> Missing:
        wanted = [one for one in left.files if not one.is_here and (not one.type or one.type in left.types)]
        missing: Missing = {}
        if not wanted:
            return missing
        try:
            await self.reading.threaded(self.exports.make_folder, self._name)
        except OSError as error:
            folder = self.exports.path(self._name, 0).parent
            reason = f"{folder} cannot be made for its export ({error.strerror})"
            raise EhrError(f"{self._name}: {reason}; set sync.bulk_folder to another place.") from None
        refused = await self._some(wanted, missing)
        if refused:
            # Addresses expire; the manifest has fresh ones, or is gone as well.
            again = await self._readdressed(refused)
            refused = {**{n: lost for n, lost in refused.items() if n not in {one.number for one in again}}}
            refused |= await self._some(again, missing)
        for number, lost in refused.items():
            if lost.is_gone:
                raise lost
            missing[number] = (self._bare(lost), True)
        return missing

    async def _some(self, wanted: Sequence[Held], missing: Missing) -> dict[int, Lost]:
        """Fetch these files; returns those that are not there, or not for us."""
        limit = asyncio.Semaphore(AT_ONCE)
        refused: dict[int, Lost] = {}
        done = 0

        async def one(held: Held) -> None:
            nonlocal done
            path = self.exports.path(self._name, held.number)
            async with limit:
                try:
                    await self.exporter.fetch(held.file.url, path, needs_token=self.job.needs_token)
                except Lost as lost:
                    refused[held.number] = lost
                    return
                except EhrError as error:
                    missing[held.number] = (self._bare(error), isinstance(error, EhrAnswer))
                    return
                await self.reading.threaded(self.exports.fetched, self._name, held)
            done += 1
            self.reading.tell_export(done, f"{done} of {len(wanted)} files")

        async with asyncio.TaskGroup() as group:
            for held in wanted:
                group.create_task(one(held))
        return refused

    async def _readdressed(self, refused: Mapping[int, Lost]) -> list[Held]:
        """Those of these files that have another address in the manifest by now."""
        answer = await self.exporter.look(self.job.address)
        if export.state(answer) != "complete":
            raise next(iter(refused.values()))
        parts = await self.exporter.manifests(self.job.address, answer)
        files = [f for part in parts for f in part.files if f.kind != "output" or f.type in self.job.types]
        again = []
        for held in await self.reading.threaded(self._held, refused):
            now = files[held.number - 1] if held.number <= len(files) else None
            if now is not None and now[:2] == held.file[:2] and now.url != held.file.url:
                await self.reading.threaded(self.exports.moved, self._name, held, now.url)
                again.append(held._replace(file=now))
        return again

    def _held(self, numbers: Mapping[int, Lost]) -> list[Held]:
        found = self.exports.read(self._name)
        return [held for held in found[1].files if held.number in numbers] if found is not None else []

    def _bare(self, error: EhrError) -> str:
        return error.message.removeprefix(f"{self._name}: ").rstrip(".")

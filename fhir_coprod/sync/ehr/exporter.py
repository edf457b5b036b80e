"""Talks to one EHR about bulk exports: begins one, looks how far it is, fetches its files, clears it away.

A kick-off is never sent again where nobody knows what became of the first one. What opens the EHR is shown at
its own host and at those of `bulk_hosts` only.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import urlsplit

import httpx

from fhir_coprod import jsontext
from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable, NotJson
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.export import Manifest, Wanted
from fhir_coprod.sync.ehr.sending import Answer, retry_after, shown, why

TRIES = 3
"""How often to ask for an export in one run, if the server says that it is too early."""
PARTS = 10_000
"""Parts that a manifest may have at most."""
LONGEST_FETCH = 6 * 3600.0
"""Seconds that one file may take."""
_NOT_SO = frozenset((400, 404, 405, 406, 415, 422, 501))
"""What a server answers that does not know a kick-off of this form."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_HOPS = 4
ROOM = 1 << 30
"""Bytes that stay free on the disk, or a twentieth of it."""
_HEAD = 64
_TAIL = 1 << 20
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))


class Refused(EhrAnswer):
    """The EHR does not export that; it has to be read otherwise."""


class Lost(EhrAnswer):
    """The EHR does not have the export, or a file of it, any more; or does not give it to us."""

    def __init__(self, message: str, *, is_gone: bool) -> None:
        super().__init__(message)
        self.is_gone = is_gone


class NoPlace(EhrError):
    """The files of an export cannot be put where they should be."""


class Begun(NamedTuple):
    """An export that was begun: where to ask how far it is, and when that was by the EHR's clock."""

    address: str
    at: datetime


class Exporter:
    """Exports of one EHR.

    bases: its own addresses, by which it may name itself in what it says (behind a proxy)
    """

    def __init__(self, client: EhrClient, bases: Iterable[str]) -> None:
        self._client = client
        self._bases = tuple(base.rstrip("/") for base in bases)
        self._name = client.ehr.name

    # --- beginning and ending ---------------------------------------------------------------------

    async def kick_off(self, wanted: Wanted) -> Begun:
        """Begin an export.

        Raises Refused if the EHR does not do it, Lost if it has begun one and we cannot ask for it, EhrError
        if it does not do it now.
        """
        polite = self._client.politeness
        for attempt in range(TRIES):
            answer = await self._ask(wanted)
            if answer.status == 202:
                break
            pause = retry_after(answer.headers.get("Retry-After"))
            if answer.status not in (429, 503) or attempt == TRIES - 1:
                raise self._refusal(answer)
            if pause is not None and pause > polite.longest_retry_after:
                raise EhrError(
                    f"{self._name}: the server asks to come back in {pause:.0f} seconds for an export."
                )
            await polite.sleep(max(polite.first_pause * 2**attempt, pause or 0.0))
        where = answer.headers.get("Content-Location") or answer.headers.get("Location") or ""
        if not where.strip():
            raise Lost(
                f"{self._name}: the server has begun an export and does not say where to ask for it "
                "(Content-Location); its vendor has to mend that.",
                is_gone=False,
            )
        address = self._at_home(answer.url, where.strip())
        self._require_own(address)
        return Begun(address, answer.time or datetime.now(UTC))

    async def _ask(self, wanted: Wanted) -> Answer:
        headers = {"Accept": "application/fhir+json", "Prefer": "respond-async"}
        base = self._client.base
        first: Answer | None = None
        if not wanted.patients:
            first = await self._client.once("GET", f"{base}/{wanted.by_get}", headers)
            if first.status not in _NOT_SO:
                return first
        by_post = {**headers, "Content-Type": "application/fhir+json"}
        answer = await self._client.once("POST", f"{base}/{wanted.path}", by_post, body=wanted.by_post)
        return first if first is not None and answer.status in _NOT_SO else answer

    def _refusal(self, answer: Answer) -> EhrError:
        """What to raise if no export has begun: whatever the reason, it may be that searches are answered."""
        codes = ", ".join(sorted(answer.codes()))
        said = f"{answer.status}{f': {codes}' if codes else ''}{f', {answer.markup}' * bool(answer.markup)}"
        if answer.status in (429, 503):
            return EhrError(f"{self._name}: the server does not begin an export now ({said}).")
        return Refused(f"{self._name}: the server does not export this ({said})")

    async def look(self, address: str) -> Answer:
        """What the server says of an export, with any status. Raises EhrError if there is no answer."""
        self._require_own(address)
        return await self._client.once("GET", address, {"Accept": "application/json"})

    async def manifests(self, address: str, first: Answer) -> list[Manifest]:
        """All parts of the manifest, the first of which is in the answer.

        Raises EhrAnswer if one cannot be read, Lost if one is gone, EhrError if it is not there yet.
        """
        parts: list[Manifest] = []
        answer, visited = first, {address}
        while True:
            try:
                parts.append(export.manifest(answer.body, answer.url))
            except export.NotAManifest as problem:
                what = answer.markup or problem
                raise EhrAnswer(f"{self._name}: the manifest of its export is {what}.") from None
            if not parts[-1].next:
                return parts
            following = self._at_home(answer.url, parts[-1].next)
            if following in visited or len(parts) == PARTS:
                raise EhrAnswer(f"{self._name}: the parts of its export's manifest lead in circles.")
            visited.add(following)
            answer = await self.look(following)
            state = export.state(answer)
            if state in ("lost", "failed"):
                raise Lost(
                    f"{self._name}: a part of its export's manifest is gone ({answer.status}).", is_gone=True
                )
            if state != "complete":
                raise EhrError(f"{self._name}: a part of its export's manifest is not there yet.")

    async def clear(self, address: str) -> bool:
        """Have the server delete the export; returns whether it is gone."""
        try:
            self._require_own(address)
            answer = await self._client.once("DELETE", address, {"Accept": "application/json"})
        except EhrError:
            return False
        return answer.status < 300 or answer.status in (404, 410)

    # --- files ------------------------------------------------------------------------------------

    async def fetch(self, url: str, file: Path, *, needs_token: bool) -> None:
        """Put what is at `url` into `file`, whole and on the disk, or nothing.

        Raises Lost if it is not there or not open to us any more, EhrAnswer if it is something else than a
        file of an export, EhrUnreachable if it does not come even after retries, NoPlace if our disk is
        full.
        """
        if not url:
            raise EhrAnswer(f"{self._name}: the manifest of its export names a file without an address.")
        polite = self._client.politeness
        reason = ""
        target = self._at_home(self._client.base, url)
        for attempt in range(polite.attempts):
            pause = min(polite.longest_pause, polite.first_pause * 2**attempt)
            try:
                async with asyncio.timeout(LONGEST_FETCH):
                    asked = await self._attempt(target, file, needs_token=needs_token)
            except TimeoutError:
                reason = f"it takes more than {LONGEST_FETCH / 3600:g} hours"
                break  # it would take as long again
            except httpx.RequestError as error:
                reason = why(error, by_tls=target.startswith("https:"))
            except EhrUnreachable as error:
                reason = error.message
            else:
                if asked is None:
                    return
                reason, after = asked
                if after is not None and after > polite.longest_retry_after:
                    break
                pause = max(pause, after or 0.0)
            if attempt < polite.attempts - 1:
                await polite.sleep(pause)
        raise EhrUnreachable(
            f"{self._name}: a file of its export at {shown(target)} does not come: {reason}."
        )

    async def _attempt(
        self, target: str, file: Path, *, needs_token: bool
    ) -> tuple[str, float | None] | None:
        """Fetch once; returns None, or why to try again and after how many seconds."""
        headers = {"Accept": "application/fhir+ndjson"}
        for _ in range(_HOPS):
            self._require_safe(target)
            async with self._client.stream(target, headers, with_token=needs_token) as response:
                status = response.status_code
                if status in _REDIRECTS:
                    target = self._at_home(target, response.headers.get("Location", ""))
                    continue
                if status == 401 and not needs_token and self._client.is_trusted(target):
                    needs_token = True  # it says that none is needed, and then wants it
                    continue
                if status == 200:
                    return await self._save(response, file, target)
            if status in _AGAIN:
                return f"it answers {status}", retry_after(response.headers.get("Retry-After"))
            where = shown(target)
            if status in (401, 403, 404, 410):
                hint = "" if self._client.is_trusted(target) else "; if it wants our token, see `bulk_hosts`"
                said = f"a file of its export at {where} cannot be had ({status}){hint}"
                raise Lost(f"{self._name}: {said}.", is_gone=status in (404, 410))
            raise EhrAnswer(f"{self._name}: a file of its export at {where} answers {status}.")
        raise EhrAnswer(f"{self._name}: a file of its export is redirected in circles at {shown(target)}.")

    async def _save(
        self, response: httpx.Response, file: Path, target: str
    ) -> tuple[str, float | None] | None:
        part = file.with_suffix(".part")
        try:
            with part.open("wb") as out:
                os.fchmod(out.fileno(), 0o600)
                is_markup = await self._copy(response, out)
                out.flush()
                await asyncio.to_thread(os.fsync, out.fileno())
            if is_markup:
                return "it answers HTML or XML instead of NDJSON", None
            if await asyncio.to_thread(is_cut_off, part):
                return "it ends in the middle of a line", None
            part.replace(file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                room = f"the disk has no room for its export in {file.parent}"
                raise NoPlace(
                    f"{self._name}: {room}; make some, or set sync.bulk_folder to another place."
                ) from None
            raise NoPlace(
                f"{self._name}: its export cannot be written to {file.parent} ({error.strerror})."
            ) from None
        finally:
            part.unlink(missing_ok=True)
        return None

    async def _copy(self, response: httpx.Response, out: BinaryIO) -> bool:
        """Write the body into a file, and leave room for what else is on that disk: the store may be.

        Returns whether it is markup; of that only the beginning is read. Raises OSError if it cannot be
        written, httpx.RequestError if it breaks off.
        """
        head = b""
        async for piece in _pieces(response):
            if len(head) < _HEAD:
                head = (head + piece)[:_HEAD]
                if head.lstrip().startswith(b"<"):
                    return True
            disk = shutil.disk_usage(out.fileno())
            if disk.free < min(ROOM, disk.total // 20):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            out.write(piece)
        return False

    def _require_own(self, address: str) -> None:
        """Raise Lost unless exports may be asked for and deleted there: else an EHR could have us read and
        delete at any address that this machine reaches."""
        if not self._client.is_trusted(address):
            raise Lost(
                f"{self._name}: the server points to {shown(address)} for its export, which is not its own "
                "host; nothing is asked there. If that is right, name it in `bulk_hosts`.",
                is_gone=False,
            )

    def _require_safe(self, target: str) -> None:
        """Raise EhrAnswer unless records may be fetched from there: what came by https is not sent open."""
        scheme = urlsplit(target).scheme
        if scheme not in ("http", "https") or (scheme == "http" and self._client.base.startswith("https:")):
            raise EhrAnswer(
                f"{self._name}: a file of its export is at {shown(target)}, which is not https; it is not "
                "fetched."
            )

    def _at_home(self, said_at: str, url: str) -> str:
        """An address as the server wrote it, at the place where we reach that server."""
        try:
            target = str(httpx.URL(said_at).join(url))
            own, other = urlsplit(self._client.base), urlsplit(target)
        except (ValueError, httpx.InvalidURL):
            raise EhrAnswer(f"{self._name}: its export is at something that is no address.") from None
        for base in self._bases:
            if target.startswith(f"{base}/") and base != self._client.base:
                return f"{self._client.base}{target.removeprefix(base)}"
        if other.netloc == own.netloc and other.scheme != own.scheme:
            return target.replace(other.scheme, own.scheme, 1)
        return target


async def _pieces(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_bytes():
            yield piece
    except OSError as error:  # TLS that fails late is no error of httpx
        raise httpx.ReadError("") from error


def is_cut_off(file: Path) -> bool:
    """Whether the last line of a file of NDJSON is not whole; of a packed file its reader will tell."""
    with file.open("rb") as data:
        start = data.read(2)
        size = data.seek(0, os.SEEK_END)
        if size == 0 or start == b"\x1f\x8b":
            return False
        data.seek(max(0, size - _TAIL))
        tail = data.read()
    if tail.endswith((b"\n", b"\r")):
        return False
    line = tail.rpartition(b"\n")[2]
    if len(line) == len(tail) == _TAIL:
        return not tail.rstrip().endswith(b"}")  # one long line; its reader will tell the rest
    return not _is_json(line)


def _is_json(line: bytes) -> bool:
    try:
        jsontext.decode(line)
    except NotJson:
        return not line.strip()
    return True

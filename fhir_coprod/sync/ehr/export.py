"""Words the requests of a bulk export, and reads its answers and its manifest. Pure.

It understands the published guide (https://hl7.org/fhir/uv/bulkdata/STU2/export.html) and its ballot for
4.0.0 (https://hl7.org/fhir/uv/bulkdata/4.0.0-202609-ballot/), which knows no kick-off by GET, says `outcome`
for `error`, and may give the manifest in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode, urljoin

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson, plain
from fhir_coprod.jsontext import Json
from fhir_coprod.sync.ehr.sending import Answer

Kind = Literal["output", "deleted", "outcome"]
"""What a file holds: records, Bundles that say which records were deleted, or OperationOutcomes."""

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("output", "output"),
    ("deleted", "deleted"),
    ("error", "outcome"),
    ("outcome", "outcome"),
)
_TRANSIENT = frozenset(("transient", "throttled", "timeout", "lock-error", "no-store", "incomplete"))
"""Issue types by which a server says that only this request failed, not the export. `exception` is left out
although R4 has it among them: servers say it of everything."""
_LONGEST_PROGRESS = 100
"""Characters of X-Progress, as the guide has it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One export as it is asked for.

    scope:    "" for everything, `Patient`, or `Group/id`
    since:    a FHIR instant; "" for everything
    patients: ids of the only patients to export; empty for all
    """

    scope: str
    types: tuple[str, ...]
    since: str = ""
    patients: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        return f"{self.scope}/$export".lstrip("/")

    @property
    def by_get(self) -> str:
        """The address that asks for it by GET. Values are parted by commas: not every server takes several
        parameters of one name."""
        since = {"_since": self.since} if self.since else {}
        return f"{self.path}?{urlencode({'_type': ','.join(self.types), **since}, safe=',:')}"

    @property
    def by_post(self) -> bytes:
        """The Parameters that ask for it by POST.

        If only some patients are wanted, no types are named: those who understand the published guide expect
        them in one value and those who understand the ballot in several, and to be misunderstood would cost
        more than the types that are not needed.
        """
        named = [] if self.patients else [{"name": "_type", "valueString": type} for type in self.types]
        since = [{"name": "_since", "valueInstant": self.since}] if self.since else []
        patients = [
            {"name": "patient", "valueReference": {"reference": f"Patient/{id}"}} for id in self.patients
        ]
        return jsontext.encode({"resourceType": "Parameters", "parameter": [*named, *since, *patients]})


class File(NamedTuple):
    """One file of an export: its address, the type of its records, how many there are (None: not said)."""

    kind: Kind
    type: str
    url: str
    records: int | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an export has come to.

    time:        transactionTime: everything until then is in it; None if the server does not say
    needs_token: the files are fetched as everything else is; False: an address alone opens them
    next:        the address of the next part of the manifest; "" for none
    """

    files: tuple[File, ...]
    time: datetime | None
    needs_token: bool
    next: str = ""


Place = tuple[Kind, str, str]


def place(file: File) -> Place:
    """What stays of a file's address when it is signed anew: all but its query."""
    return file.kind, file.type, file.url.partition("#")[0].partition("?")[0]


def by_place(files: Iterable[File]) -> dict[Place, File]:
    """Files by their places, without those that share one: there nothing tells which is which."""
    found: dict[Place, File] = {}
    several: set[Place] = set()
    for file in files:
        several |= {place(file)} & found.keys()
        found[place(file)] = file
    return {where: file for where, file in found.items() if where not in several}


class NotAManifest(Exception):
    """The answer is not a manifest; the message says what it is instead."""


def manifest(raw: bytes, address: str) -> Manifest:
    """The manifest that was found at `address`. Raises NotAManifest."""
    try:
        data = jsontext.decode(raw)
    except NotJson:
        raise NotAManifest("something that is no JSON") from None
    if not isinstance(data, dict):
        raise NotAManifest("JSON that is no object")
    if "resourceType" in data:
        raise NotAManifest(f"a {plain(str(data['resourceType'])[:64])}")
    if not all(_text(one.get("type")) for one in _objects(data.get("output"), "output")):
        raise NotAManifest("a manifest with files of which it does not say what they hold")
    if not any(key in data for key, _ in _KINDS) and "transactionTime" not in data:
        raise NotAManifest("JSON without output and transactionTime")
    files = tuple(
        File(kind, _text(one.get("type")), _joined(address, one.get("url")), _count(one.get("count")))
        for key, kind in _KINDS
        for one in _objects(data.get(key), key)
    )
    following = [
        _joined(address, link.get("url"))
        for link in _objects(data.get("link"), "link")
        if link.get("relation") == "next" and link.get("url")
    ]
    return Manifest(
        files,
        _instant(data.get("transactionTime")),
        data.get("requiresAccessToken") is not False,
        following[0] if following else "",
    )


def _objects(value: object, key: str) -> Sequence[Json]:
    """A list of objects. What is no such list may hide files, so it is not passed over."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise NotAManifest(f"a manifest whose {key} cannot be read")
    return value


def _joined(address: str, url: object) -> str:
    """A file without an address has none, not that of the manifest."""
    try:
        return urljoin(address, _text(url)) if _text(url) else ""
    except ValueError:
        return _text(url)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found.astimezone(UTC) if found.tzinfo is not None and 1000 < found.year < 9998 else None


# --- what the server says of a job ----------------------------------------------------------------

State = Literal["under way", "complete", "lost", "failed", "unanswered"]
"""What one look at an export says of it.

complete:   the answer has the manifest
lost:       the server knows nothing of it any more
failed:     it will not come to an end
unanswered: this look failed; the next one may not
"""


def state(answer: Answer) -> State:
    """What an answer at the status address says of the job."""
    status = answer.status
    if status == 200 and (said := re.match(r"\s*(\d{3})\b", answer.headers.get("X-Export-Status", ""))):
        status = int(said[1])
    if status == 202:
        return "under way"
    if answer.markup:  # a gateway, or somebody else's page
        return "lost" if status in (404, 410) else "unanswered"
    if status == 200:
        return "complete"
    if status in (404, 410):
        return "lost"
    if status in (401, 403, 408, 425, 429) or 300 <= status < 400:
        return "unanswered"
    codes = answer.codes()
    is_final = bool(codes) and codes.isdisjoint(_TRANSIENT)
    return "failed" if is_final else "unanswered"


def progress(answer: Answer) -> str:
    """What the server says of how far it is, one line; "" if it says nothing."""
    return plain(answer.headers.get("X-Progress", "").strip())[:_LONGEST_PROGRESS]


def portion(words: str) -> str:
    """The percentage in what a server says of its progress, for a log; "" if there is none."""
    found = re.search(r"\b\d{1,3}(?:[.,]\d{1,2})? ?%", words)
    return found[0] if found else ""


# --- deletions ------------------------------------------------------------------------------------

_DELETED = re.compile(r"(?:.*/)?([A-Z][A-Za-z]{2,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/.*)?$")


def deletions(bundle: Json) -> list[tuple[str, str]]:
    """(type, id) of each record that a Bundle of a `deleted` file names; what cannot be read is left out."""
    entries = bundle.get("entry")
    found = []
    for entry in entries if isinstance(entries, list) else ():
        request = entry.get("request") if isinstance(entry, dict) else None
        if not isinstance(request, dict) or request.get("method") != "DELETE":
            continue
        url = request.get("url")
        if isinstance(url, str) and (named := _DELETED.match(url)):
            found.append((named[1], named[2]))
    return found

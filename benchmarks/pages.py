"""A FHIR server for benchmarks that uses almost no processor time: it makes its pages beforehand.

It runs in a process of its own and answers from memory, so that a benchmark measures the sync alone. It can
be asked to fail now and then, as servers do at night: at an address at most once, so who asks again gets
through.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from typing import cast
from urllib.parse import parse_qs
from urllib.request import urlopen

import uvloop

from benchmarks.load import serving
from benchmarks.sample import population

PAGE = 200
"""Records in a page, the same number that a sync asks for."""
KINDS = ("busy", "down", "half", "cut off")
LATEST = 1000
"""Of how many records of a type it is known when they were changed."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def pages_of(records: int, faults: float = 0) -> Iterator[str]:
    """Run a server with so many records (a multiple of ten) of four types; yields its base URL.

    faults: the share of addresses at which the first request fails
    """
    with serving([sys.executable, "-m", "benchmarks.pages", str(records), str(faults)]) as url:
        yield url


def requests_of(url: str) -> int:
    """How many requests that server has answered."""
    with urlopen(f"{url}/requests") as answer:
        return int(answer.read())


def types_of(records: int) -> list[str]:
    """The types of the records, in the order of the first record of each."""
    return list(dict.fromkeys(json.loads(raw)["resourceType"] for raw in population(min(records // 10, 1))))


@dataclass(slots=True)
class _Held:
    """What the server answers.

    pages:  path and start of the page, as `path/start` → the whole HTTP answer
    latest: by path, when the last records were changed, in that order, and each as an entry
    of:     the entries of a patient, by path and that patient's id
    asked:  how many requests there were
    """

    pages: dict[str, bytes] = field(default_factory=dict)
    latest: dict[str, tuple[list[str], list[bytes]]] = field(default_factory=dict)
    of: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    asked: int = 0

    def since(self, path: str, query: str) -> bytes:
        """The records changed since the `_lastUpdated` of the query, as far as they are held: on one page."""
        wanted = parse_qs(query)["_lastUpdated"][0].removeprefix("ge").replace("Z", "+00:00")
        times, entries = self.latest[path]
        return _http(_bundle(entries[bisect_left(times, wanted) :], {"total": len(times)}))

    def of_one(self, path: str, query: str) -> bytes:
        """The records of the patient that the query names, or that patient."""
        asked = parse_qs(query)
        patient = (asked.get("patient") or asked["_id"])[0].removeprefix("Patient/")
        entries = self.of.get((path, patient), [])
        return _http(_bundle(entries, {"total": len(entries)}))


def _bundle(entries: list[bytes], members: dict[str, object]) -> bytes:
    head = json.dumps({"resourceType": "Bundle", "type": "searchset", **members}).encode()
    return head[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def _hold(base: str, records: int) -> _Held:
    entries: dict[str, list[bytes]] = defaultdict(list)
    times: dict[str, list[str]] = defaultdict(list)
    of: dict[tuple[str, str], list[bytes]] = {}
    for number, raw in enumerate(population(records // 10)):
        updated = (_BEGIN + timedelta(seconds=number)).isoformat()
        resource = json.loads(raw)
        # Servers write the members in this order.
        head = {"resourceType": resource["resourceType"], "id": resource["id"]}
        meta = {"meta": {"versionId": "1", "lastUpdated": updated}}
        text = json.dumps({**head, **meta, **resource}, ensure_ascii=False, separators=(",", ":")).encode()
        entry = b'{"resource":' + text + b',"search":{"mode":"match"}}'
        entries[resource["resourceType"]].append(entry)
        times[resource["resourceType"]].append(updated)
        patient = (resource.get("subject") or resource.get("for") or {}).get(
            "reference", f"/{resource['id']}"
        )
        of.setdefault((f"/fhir/{resource['resourceType']}", patient.partition("/")[2]), []).append(entry)
    held = _Held({"/fhir/metadata/0": _http(json.dumps(_statement(list(entries))).encode())}, of=of)
    for type, own in entries.items():
        for start in range(0, len(own), PAGE):
            links = []
            if start + PAGE < len(own):
                links = [{"relation": "next", "url": f"{base}/{type}?_count={PAGE}&page={start + PAGE}"}]
            page = _bundle(own[start : start + PAGE], {"total": len(own), "link": links})
            held.pages[f"/fhir/{type}/{start}"] = _http(page)
        held.latest[f"/fhir/{type}"] = times[type][-LATEST:], own[-LATEST:]
    return held


def _statement(types: list[str]) -> dict[str, object]:
    interactions = [{"code": "read"}, {"code": "search-type"}]
    parameters = [
        {"name": "_lastUpdated", "type": "date"},
        {"name": "_id", "type": "token"},
        {"name": "patient", "type": "reference"},
    ]
    resource = [{"type": t, "interaction": interactions, "searchParam": parameters} for t in types]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resource}],
    }


def _http(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/fhir+json\r\n{more}"
    head += f"date: {format_datetime(datetime.now(UTC), usegmt=True)}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_NONE = _http(b'{"resourceType":"OperationOutcome"}', "404 Not Found")


class _Faults:
    """Which requests fail, and how."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._seen: set[str] = set()

    def at(self, address: str) -> str:
        """What goes wrong at this request; "" for nothing. What fails is the same in every run."""
        if not self._share or address in self._seen or address.startswith("/fhir/metadata"):
            return ""
        self._seen.add(address)
        number = int.from_bytes(sha256(address.encode()).digest()[:8])
        return KINDS[number % len(KINDS)] if number / 2**64 < self._share else ""


class _Connection(asyncio.Protocol):
    def __init__(self, held: _Held, faults: _Faults) -> None:
        self._held = held
        self._faults = faults
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            address = head.split(b" ", 2)[1].decode()
            path, _, query = address.partition("?")
            answer = self._answer(path, query)
            match self._faults.at(address):
                case "":
                    self._transport.write(answer)
                case "busy":
                    self._transport.write(_http(b"", "429 Too Many Requests", "retry-after: 1\r\n"))
                case "down":
                    self._transport.write(_http(b"<html>down</html>", "503 Service Unavailable"))
                case "half":
                    self._transport.write(answer[: len(answer) // 2])
                    self._transport.close()
                case _:
                    self._transport.abort()

    def _answer(self, path: str, query: str) -> bytes:
        if path == "/fhir/requests":
            return _http(str(self._held.asked).encode())
        self._held.asked += 1
        if "_lastUpdated=" in query:
            return self._held.since(path, query)
        if "patient=" in query or "_id=" in query:
            return self._held.of_one(path, query)
        _, _, start = query.partition("page=")
        return self._held.pages.get(f"{path}/{start or 0}", _NONE)


async def _serve(records: int, share: float) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    held = _hold(base, records)
    faults = _Faults(share)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(held, faults), sock=listener)
    print(f"listening on {base}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))

"""A FHIR server for benchmarks that uses almost no processor time: it makes its pages beforehand.

It runs in a process of its own and answers from memory, so that a benchmark measures the sync alone.
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
from urllib.parse import parse_qs
from urllib.request import urlopen

import uvloop

from benchmarks.load import serving
from benchmarks.sample import population

PAGE = 100
"""Records in a page, the same number that a sync asks for."""
LATEST = 1000
"""Of how many records of a type it is known when they were changed."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def pages_of(records: int) -> Iterator[str]:
    """Run a server with so many records (a multiple of ten) of four types; yields its base URL."""
    with serving([sys.executable, "-m", "benchmarks.pages", str(records)]) as url:
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
    asked:  how many requests there were
    """

    pages: dict[str, bytes] = field(default_factory=dict)
    latest: dict[str, tuple[list[str], list[bytes]]] = field(default_factory=dict)
    asked: int = 0

    def since(self, path: str, query: str) -> bytes:
        """The records changed since the `_lastUpdated` of the query, as far as they are held: on one page."""
        wanted = parse_qs(query)["_lastUpdated"][0].removeprefix("ge").replace("Z", "+00:00")
        times, entries = self.latest[path]
        return _http(_bundle(entries[bisect_left(times, wanted) :], {"total": len(times)}))


def _bundle(entries: list[bytes], members: dict[str, object]) -> bytes:
    head = json.dumps({"resourceType": "Bundle", "type": "searchset", **members}).encode()
    return head[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def _hold(base: str, records: int) -> _Held:
    entries: dict[str, list[bytes]] = defaultdict(list)
    times: dict[str, list[str]] = defaultdict(list)
    for number, raw in enumerate(population(records // 10)):
        updated = (_BEGIN + timedelta(seconds=number)).isoformat()
        resource = json.loads(raw)
        # Servers write the members in this order.
        head = {"resourceType": resource["resourceType"], "id": resource["id"]}
        meta = {"meta": {"versionId": "1", "lastUpdated": updated}}
        text = json.dumps({**head, **meta, **resource}, ensure_ascii=False, separators=(",", ":")).encode()
        entries[resource["resourceType"]].append(b'{"resource":' + text + b',"search":{"mode":"match"}}')
        times[resource["resourceType"]].append(updated)
    held = _Held({"/fhir/metadata/0": _http(json.dumps(_statement(list(entries))).encode())})
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
    resource = [
        {"type": t, "interaction": interactions, "searchParam": [{"name": "_lastUpdated", "type": "date"}]}
        for t in types
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": resource}],
    }


def _http(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/fhir+json\r\n"
    head += f"date: {format_datetime(datetime.now(UTC), usegmt=True)}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_NONE = _http(b'{"resourceType":"OperationOutcome"}', "404 Not Found")


class _Connection(asyncio.Protocol):
    def __init__(self, held: _Held) -> None:
        self._held = held
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            path, _, query = head.split(b" ", 2)[1].decode().partition("?")
            self._transport.write(self._answer(path, query))  # type: ignore[attr-defined]

    def _answer(self, path: str, query: str) -> bytes:
        if path == "/fhir/requests":
            return _http(str(self._held.asked).encode())
        self._held.asked += 1
        if "_lastUpdated=" in query:
            return self._held.since(path, query)
        _, _, start = query.partition("page=")
        return self._held.pages.get(f"{path}/{start or 0}", _NONE)


async def _serve(records: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}/fhir"
    held = _hold(base, records)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(held), sock=listener)
    print(f"listening on {base}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

"""A FHIR server for benchmarks that uses almost no processor time: it makes its pages beforehand.

It runs in a process of its own and answers from memory, so that a benchmark measures the sync alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import uvloop

from benchmarks.load import serving
from benchmarks.sample import population

PAGE = 100
"""Records in a page, the same number that a sync asks for."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def pages_of(records: int) -> Iterator[str]:
    """Run a server with so many records (a multiple of ten) of four types; yields its base URL."""
    with serving([sys.executable, "-m", "benchmarks.pages", str(records)]) as url:
        yield url


def types_of(records: int) -> list[str]:
    """The types of the records, in the order of the first record of each."""
    return list(dict.fromkeys(json.loads(raw)["resourceType"] for raw in population(min(records // 10, 1))))


def _answers(base: str, records: int) -> dict[str, bytes]:
    """Path and start of the page, as `path/start` → the whole HTTP answer."""
    by_type: dict[str, list[bytes]] = defaultdict(list)
    for number, raw in enumerate(population(records // 10)):
        updated = (_BEGIN + timedelta(seconds=number)).isoformat()
        resource = json.loads(raw)
        # Servers write the members in this order.
        head = {"resourceType": resource["resourceType"], "id": resource["id"]}
        meta = {"meta": {"versionId": "1", "lastUpdated": updated}}
        text = json.dumps({**head, **meta, **resource}, ensure_ascii=False, separators=(",", ":"))
        by_type[resource["resourceType"]].append(text.encode())
    found = {"/fhir/metadata/0": _http(json.dumps(_statement(list(by_type))).encode())}
    for type, own in by_type.items():
        for start in range(0, len(own), PAGE):
            links = []
            if start + PAGE < len(own):
                links = [{"relation": "next", "url": f"{base}/{type}?_count={PAGE}&page={start + PAGE}"}]
            head = {"resourceType": "Bundle", "type": "searchset", "total": len(own), "link": links}
            entries = b",".join(
                b'{"resource":' + raw + b',"search":{"mode":"match"}}' for raw in own[start : start + PAGE]
            )
            found[f"/fhir/{type}/{start}"] = _http(
                json.dumps(head).encode()[:-1] + b',"entry":[' + entries + b"]}"
            )
    return found


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
    def __init__(self, answers: dict[str, bytes]) -> None:
        self._answers = answers
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            path, _, query = head.split(b" ", 2)[1].decode().partition("?")
            _, _, start = query.partition("page=")
            self._transport.write(self._answers.get(f"{path}/{start or 0}", _NONE))  # type: ignore[attr-defined]


async def _serve(records: int) -> None:
    answers: dict[str, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(answers), "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    answers |= _answers(f"{base}/fhir", records)
    print(f"listening on {base}/fhir", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

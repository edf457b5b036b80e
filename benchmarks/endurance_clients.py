"""The clients of the endurance run: each does one thing after the other, as the many kinds of callers do.

Together they keep a steady rate. What a request may be answered with is written down beside it; anything else
is an error that the page shows. The store stays about as large as it was: what a client creates it deletes
again, so that only histories grow.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.sample import care_plan, family, referral

Json = dict[str, Any]
FHIR = {"content-type": "application/fhir+json"}
IDENTIFIER = "https://fhir-coprod.org/bench"
KEPT = 20
"""Created records that a client leaves before it deletes the oldest."""


@dataclass
class Tally:
    """What the clients have seen since it was last taken. All of them run in one thread; another takes it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, seconds: float, status: str, is_expected: bool) -> None:
        with self.lock:
            self.seconds.setdefault(kind, []).append(seconds)
            self.statuses[status] += 1
            if not is_expected:
                self.unexpected[f"{kind}: {status}"] += 1

    def take(self) -> tuple[dict[str, list[float]], Counter[str], Counter[str]]:
        with self.lock:
            taken = self.seconds, self.statuses, self.unexpected
            self.seconds, self.statuses, self.unexpected = {}, Counter(), Counter()
        return taken


class Clients:
    """So many clients in a thread, which together send `rate` requests in a second.

    name: is in what they make and ask for, so that no other clients' is the same
    """

    def __init__(self, name: str, base: str, number: int, rate: float, patients: int, tally: Tally) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(name, base, number, rate, patients, tally)), daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)

    async def _run(self, name: str, base: str, number: int, rate: float, patients: int, tally: Tally) -> None:
        clients = [_Client(name, base, each, patients, tally) for each in range(number)]
        await asyncio.gather(*(client.run(number / rate, self._stop) for client in clients))


def _connections() -> httpx.AsyncClient:
    # Idle ones are closed before the server closes them, which it may do just as a request is sent.
    limits = httpx.Limits(keepalive_expiry=2.0)
    return httpx.AsyncClient(timeout=40, trust_env=False, verify=False, limits=limits)


class _Client:
    def __init__(self, name: str, base: str, number: int, patients: int, tally: Tally) -> None:
        self._name = f"{name}-{number}"
        self._base = base
        self._site = base.rsplit("/", 1)[0]
        self._patients = patients
        self._tally = tally
        self._chance = random.Random(number)
        self._count = 0
        self._created: deque[str] = deque()
        self._http = _connections()
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self._read: 24,
            self._read_version: 4,
            self._search: 24,
            self._search_by_words: 4,
            self._search_wrongly: 2,
            self._create: 12,
            self._create_once: 3,
            self._update: 10,
            self._patch: 4,
            self._transaction: 4,
            self._batch: 2,
            self._history: 5,
            self._everything: 3,
            self._pages: 3,
            self._invalid: 4,
            self._validate: 2,
            self._packed: 3,
            self._leave: 2,
            self._astray: 2,
            self._about: 2,
        }
        self._acts, self._weights = list(acts), list(acts.values())

    async def run(self, pause: float, stop: threading.Event) -> None:
        """One act in each `pause` seconds, at the mean; later ones wait for an earlier one."""
        due = time.monotonic() + self._chance.random() * pause
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # What is late is not made up for: a server that stands still must not meet a flood afterwards.
            due = max(due, time.monotonic() - pause) + self._chance.expovariate(1 / pause)
            await self._chance.choices(self._acts, self._weights)[0]()
            if self._chance.random() < 0.03:
                await self._http.aclose()
                self._http = _connections()
        await self._http.aclose()

    async def _ask(
        self,
        kind: str,
        method: str,
        path: str,
        expected: tuple[int, ...] = (200,),
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response | None:
        url = path if path.startswith("http") else f"{self._base}/{path}".rstrip("/")
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        begin = time.perf_counter()
        try:
            answer = await self._http.request(
                method,
                url,
                content=content,
                headers={**(FHIR if body is not None else {}), **(headers or {})},
            )
        except httpx.HTTPError as error:
            self._tally.note(kind, time.perf_counter() - begin, type(error).__name__, False)
            return None
        took = time.perf_counter() - begin
        self._tally.note(kind, took, str(answer.status_code), answer.status_code in expected)
        return answer

    def _patient(self) -> int:
        return self._chance.randrange(self._patients)

    def _fresh(self) -> str:
        self._count += 1
        return f"{self._name}-{self._count}"

    # ---------------------------------------------------------------------------------------------- reads

    async def _read(self) -> None:
        headers = {"if-none-match": 'W/"1"'} if self._chance.random() < 0.2 else {}
        await self._ask("read", "GET", f"Patient/p{self._patient()}", (200, 304), headers=headers)

    async def _read_version(self) -> None:
        await self._ask("vread", "GET", f"CarePlan/c{self._patient()}-0/_history/1")

    async def _search(self) -> None:
        number, part = self._patient(), self._chance.randrange(3)
        query = self._chance.choice(
            (
                f"ServiceRequest?identifier={IDENTIFIER}/order|{number:08}-{part}",
                f"ServiceRequest?patient=Patient/p{number}&_sort=-authored",
                f"Patient?family={family(number)}",
                f"ServiceRequest?subject:Patient.family={family(number)}&status=active",
                f"Task?patient=Patient/p{number}&_include=Task:focus&_include=Task:patient",
                f"Patient?_id=p{number}&_revinclude=ServiceRequest:subject",
                f"Task?status=requested&_count={self._chance.randrange(1, 40)}",
                "ServiceRequest?status=active&_sort=-_lastUpdated&_count=20",
                "CarePlan?_summary=count",
            )
        )
        await self._ask("search", "GET", query)

    async def _search_by_words(self) -> None:
        """Texts that nobody has asked for before: a cache that keeps them would grow."""
        word = self._fresh()
        query = self._chance.choice(
            (
                f"Patient?name:contains={word}",
                f"CarePlan?identifier=urn:{word}|{word}&date=ge2026-01-{1 + self._count % 28:02}",
                f"Patient?birthdate=lt1970-01-02T03:04:{self._count % 60:02}.{self._count % 1000:03}Z",
                f"Task?_lastUpdated=gt2099-01-01T00:00:00.{self._count % 1000:03}Z&_elements=status",
                f"Task?identifier={word}&status={'requested,accepted,' * (1 + self._count % 20)}completed",
            )
        )
        await self._ask("search by any words", "GET", query)

    async def _search_wrongly(self) -> None:
        word = self._fresh()
        query = self._chance.choice(
            (f"Patient?no{word}=1", f"Patient?birthdate={word}", f"Patient?name:{word}=1")
        )
        strict = {"prefer": "handling=strict"}
        await self._ask("refused search", "GET", query, (400,), headers=strict)

    async def _history(self) -> None:
        path = self._chance.choice(
            (f"Patient/p{self._patient()}/_history", "Task/_history?_count=20", "_history?_count=20")
        )
        await self._ask("history", "GET", path)

    async def _everything(self) -> None:
        await self._ask("$everything", "GET", f"Patient/p{self._patient()}/$everything")

    async def _pages(self) -> None:
        path = "/" if self._chance.random() < 0.7 else f"/referral/s{self._patient()}-0"
        await self._ask(
            "page", "GET", f"{self._site}{path}", (200, 303, 307, 404), headers={"accept": "text/html"}
        )

    async def _about(self) -> None:
        path = self._chance.choice(("metadata", f"{self._site}/health", f"{self._site}/metrics"))
        await self._ask("about", "GET", path)

    async def _astray(self) -> None:
        word = self._fresh()
        path = self._chance.choice(
            (f"Patient/{word}", f"{word}", f"Patient/{word}/{word}", f"{self._site}/{word}", f"Basic/${word}")
        )
        method = self._chance.choice(("GET", "GET", "POST", "DELETE"))
        body = b"{}" if method == "POST" else None
        await self._ask("astray", method, path, (200, 204, 400, 404, 405, 422), body=body)

    # --------------------------------------------------------------------------------------------- writes

    def _plan(self) -> Json:
        plan = {
            **care_plan(self._chance.randrange(10**8)),
            "subject": {"reference": f"Patient/p{self._patient()}"},
        }
        plan["identifier"] = [{"system": f"{IDENTIFIER}/made", "value": self._fresh()}]
        return plan

    async def _create(self) -> None:
        answer = await self._ask("create", "POST", "CarePlan", (201,), body=self._plan())
        if answer is not None and answer.status_code == 201:
            self._created.append(answer.headers["location"].split("/_history/")[0])
        while len(self._created) > KEPT:  # some more were created on conditions
            await self._ask("delete", "DELETE", self._created.popleft(), (200, 204))

    async def _create_once(self) -> None:
        plan = self._plan()
        value = plan["identifier"][0]["value"]
        headers = {"if-none-exist": f"identifier={IDENTIFIER}/made|{value}"}
        answer = await self._ask("conditional create", "POST", "CarePlan", (201,), body=plan, headers=headers)
        if answer is not None and answer.status_code == 201:
            self._created.append(answer.headers["location"].split("/_history/")[0])

    async def _update(self) -> None:
        number, part = self._patient(), self._chance.randrange(3)
        if self._chance.random() < 0.5:
            order = {**referral(number, part), "note": [{"text": f"Seen again: {self._fresh()}"}]}
            await self._ask("update", "PUT", f"ServiceRequest/{order['id']}", body=order)
        else:
            plan = {**self._plan(), "id": f"c{number}-{part}"}
            await self._ask("update", "PUT", f"CarePlan/{plan['id']}", body=plan)

    async def _patch(self) -> None:
        path = f"CarePlan/c{self._patient()}-{self._chance.randrange(3)}"
        change = [{"op": "replace", "path": "/title", "value": f"By spring {self._fresh()}"}]
        headers = {"content-type": "application/json-patch+json"}
        await self._ask("patch", "PATCH", path, body=change, headers=headers)

    async def _transaction(self) -> None:
        entries = []
        for _ in range(5):
            number, part = self._patient(), self._chance.randrange(3)
            order = {**referral(number, part), "note": [{"text": f"Together: {self._fresh()}"}]}
            url = f"ServiceRequest/{order['id']}"
            if all(entry["request"]["url"] != url for entry in entries):
                entries.append({"resource": order, "request": {"method": "PUT", "url": url}})
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        await self._ask("transaction", "POST", "", body=bundle)

    async def _batch(self) -> None:
        urls = [f"Patient/p{self._patient()}" for _ in range(4)] + [
            f"Task?patient=Patient/p{self._patient()}"
        ]
        entries = [{"request": {"method": "GET", "url": url}} for url in urls]
        await self._ask(
            "batch", "POST", "", body={"resourceType": "Bundle", "type": "batch", "entry": entries}
        )

    async def _packed(self) -> None:
        number = self._patient()
        plan = {**self._plan(), "id": f"c{number}-1", "note": [{"text": "long " * 2000}]}
        body, headers = gzip.compress(json.dumps(plan).encode(), 1), {"content-encoding": "gzip"}
        await self._ask("gzipped update", "PUT", f"CarePlan/{plan['id']}", body=body, headers=headers)

    # --------------------------------------------------------------------------------------- what is wrong

    async def _invalid(self) -> None:
        word = self._fresh()
        bodies: list[bytes | Json] = [
            b'{"resourceType":"Patient",',
            word.encode(),
            {"resourceType": "Patient", f"x{word}": 1},
            {
                "resourceType": "CarePlan",
                "status": word,
                "intent": "plan",
                "subject": {"reference": "Patient/p1"},
            },
            {"resourceType": "Observation", "code": {"text": word}, "valueQuantity": {"value": word}},
            {"resourceType": "Patient", "extension": [{"url": f"urn:{word}", "valueString": ""}] * 20},
            {
                "resourceType": "Patient",
                "meta": {"profile": [f"http://example.org/{word}"]},
                "birthDate": word,
            },
        ]
        body = self._chance.choice(bodies)
        type = body["resourceType"] if isinstance(body, dict) else "Patient"
        await self._ask("refused write", "POST", type, (400, 422), body=body)

    async def _validate(self) -> None:
        body = {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": self._plan()}]}
        await self._ask("$validate", "POST", "CarePlan/$validate", body=body)

    async def _leave(self) -> None:
        """Close the connection in the middle of a request, or before its answer."""
        parts = urlsplit(self._base)
        body = json.dumps(self._plan()).encode()
        head = (
            f"PUT {parts.path}/CarePlan/c{self._patient()}-2 HTTP/1.1\r\nHost: {parts.netloc}\r\n"
            f"Content-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        whole = (
            head + body
            if self._chance.random() < 0.5
            else b"GET /fhir/CarePlan?_count=200 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        sent = whole[: self._chance.randrange(1, len(whole) + 1)]
        begin = time.perf_counter()
        with suppress(OSError):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(sent)
            await writer.drain()
            if self._chance.random() < 0.5:
                reset = writer.get_extra_info("socket")
                reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._tally.note("left early", time.perf_counter() - begin, "left", True)

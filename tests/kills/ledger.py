"""Clients that write over HTTP, one request after the other, and note what the server has acknowledged."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx

from fhir_coprod.store import Store

Json = dict[str, Any]
SYSTEM = "urn:serial"
FHIR = {"content-type": "application/fhir+json", "prefer": "return=minimal"}
NOTHING_WRITTEN = "nothing was written"


@dataclass(frozen=True)
class Sent:
    """One resource in one request; `serial` is in its identifier, and in no other.

    group: the serials of a transaction, of which all or none are there
    """

    serial: str
    type: str
    id: str
    body: Json
    group: str = ""


@dataclass(frozen=True)
class Acknowledged:
    """A version that the server said is stored; serial "" for a deletion."""

    type: str
    id: str
    version: int
    serial: str


@dataclass
class Ledger:
    """Everything that the clients of one store have sent and been told. One thread writes it."""

    sent: dict[str, Sent] = field(default_factory=dict)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    """Serials that the server said it has not written."""
    deletions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each resource was asked to be deleted."""
    wrong: list[str] = field(default_factory=list)
    """What a client saw that must not be."""
    statuses: Counter[int] = field(default_factory=Counter)


class Clients:
    """So many clients in a thread of their own, each with resources that only it writes. They go on while the
    server is away, and send again what must be there in the end."""

    def __init__(self, number: int, seed: int, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self._chance = random.Random(seed)
        self._name = f"{seed:x}"
        self._url = ""
        self._number = number
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def ask(self, url: str) -> None:
        """From now on they ask this server; "" for none."""
        self._url = url

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if not self.ledger.acknowledged:
            self.ledger.wrong.append(f"nothing was acknowledged: {dict(self.ledger.statuses)}")

    def _live(self) -> None:
        try:
            asyncio.run(self._all())
        except BaseException as error:
            self.ledger.wrong.append(f"the clients ended: {error!r}")
            raise

    async def _all(self) -> None:
        async with httpx.AsyncClient(timeout=60, headers=FHIR, trust_env=False) as http:
            one_by_one = [
                _Client(self, http, f"{self._name}-{n}", self._chance.random()) for n in range(self._number)
            ]
            await asyncio.gather(*(client.run() for client in one_by_one))

    @property
    def is_over(self) -> bool:
        return self._stop.is_set()

    @property
    def url(self) -> str:
        return self._url


class _Client:
    def __init__(self, clients: Clients, http: httpx.AsyncClient, name: str, seed: float) -> None:
        self._clients = clients
        self._http = http
        self._name = name
        self._chance = random.Random(seed)
        self._count = 0
        self._ledger = clients.ledger
        self._unanswered_condition: Sent | None = None

    async def run(self) -> None:
        acts: list[tuple[Callable[[], Coroutine[Any, Any, None]], int]] = [
            (self._put, 8),
            (self._create, 3),
            (self._create_once, 3),
            (self._together, 4),
            (self._patch, 3),
            (self._delete, 2),
            (self._read_own, 3),
        ]
        names, weights = zip(*acts, strict=True)
        while not self._clients.is_over:
            if not self._clients.url:
                await asyncio.sleep(0.02)
                continue
            await self._chance.choices(names, weights)[0]()
            await asyncio.sleep(self._chance.random() * 0.02)

    # -------------------------------------------------------------------------------------- what it sends

    def _new(self, type: str, id: str, group: str = "") -> Sent:
        self._count += 1
        serial = f"{self._name}-{self._count:06}"
        body: Json = {"resourceType": type, "identifier": [{"system": SYSTEM, "value": serial}]}
        if id:
            body["id"] = id
        if type == "ServiceRequest":
            body |= {
                "status": "active",
                "intent": "order",
                "authoredOn": "2026-01-05T10:00:00Z",
                "subject": {"reference": f"Patient/of-{self._name}"},
            }
        else:
            body |= {
                "status": "final",
                "code": {"text": "å" * self._chance.randrange(1, 400)},
                "valueString": serial,
            }
        sent = Sent(serial, type, id, body, group)
        self._ledger.sent[serial] = sent
        return sent

    def _own(self) -> str:
        return f"{self._name}-{self._chance.randrange(4)}"

    async def _put(self) -> None:
        sent = self._new("Observation", self._own())
        answer = await self._ask("PUT", f"Observation/{sent.id}", sent.body)
        self._note(answer, sent)

    async def _patch(self) -> None:
        id = self._own()
        sent = self._new("Observation", id)
        change = [
            {"op": "replace", "path": f"/{name}", "value": sent.body[name]}
            for name in ("identifier", "code", "valueString")
        ]
        answer = await self._ask(
            "PATCH", f"Observation/{id}", change, {"content-type": "application/json-patch+json"}
        )
        self._note(answer, sent)

    async def _create(self) -> None:
        sent = self._new("ServiceRequest", "")
        self._note(await self._ask("POST", "ServiceRequest", sent.body), sent)

    async def _create_once(self) -> None:
        """Sent again until it is answered; still there must be one."""
        sent = self._unanswered_condition or self._new("Observation", "")
        condition = {"if-none-exist": f"identifier={SYSTEM}|{sent.serial}"}
        answer = await self._ask("POST", "Observation", sent.body, condition)
        done = answer is not None and answer.status_code in (200, 201)
        self._unanswered_condition = None if done else sent
        if answer is not None and done:
            self._note(answer, sent)

    async def _together(self) -> None:
        group = f"group-{self._name}-{self._count}"
        parts = [self._new("Observation", self._own(), group), self._new("ServiceRequest", "", group)]
        entries = [
            {
                "resource": part.body,
                "request": {
                    "method": "PUT" if part.id else "POST",
                    "url": f"{part.type}/{part.id}".rstrip("/"),
                },
            }
            for part in parts
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = await self._ask("POST", "", bundle)
        if answer is not None and answer.status_code == 200:
            for part, entry in zip(parts, answer.json()["entry"], strict=True):
                self._acknowledge(part, entry["response"]["location"])
        else:
            self._note_refusal(answer, *parts)

    async def _delete(self) -> None:
        id = self._own()
        self._ledger.deletions["Observation", id] += 1
        answer = await self._ask("DELETE", f"Observation/{id}")
        if answer is not None and answer.status_code in (200, 204) and "etag" in answer.headers:
            version = int(answer.headers["etag"].strip('W/"'))
            self._ledger.acknowledged.append(Acknowledged("Observation", id, version, ""))

    async def _read_own(self) -> None:
        """What was acknowledged is seen at once; another client never writes it."""
        id = self._own()
        known = [a for a in self._ledger.acknowledged if (a.type, a.id) == ("Observation", id)]
        answer = await self._ask("GET", f"Observation/{id}")
        if answer is None or answer.status_code not in (200, 404, 410) or not known:
            return
        if answer.status_code == 404:
            self._ledger.wrong.append(f"Observation/{id}: version {known[-1].version}, but read 404")
        elif answer.status_code == 200:
            seen = int(answer.json()["meta"]["versionId"])
            if seen < known[-1].version:
                self._ledger.wrong.append(f"Observation/{id}: version {known[-1].version}, but read {seen}")

    # --------------------------------------------------------------------------------------- what it notes

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """The answer; None if there was none: then nobody knows whether it was done."""
        url = f"{self._clients.url}/{path}".rstrip("/")
        try:
            answer = await self._http.request(method, url, json=body, headers=headers)
        except httpx.TransportError:
            await asyncio.sleep(0.05)
            return None
        self._ledger.statuses[answer.status_code] += 1
        return answer

    def _note(self, answer: httpx.Response | None, sent: Sent) -> None:
        if answer is not None and answer.status_code in (200, 201):
            self._acknowledge(
                sent, answer.headers["location" if "location" in answer.headers else "content-location"]
            )
        else:
            self._note_refusal(answer, sent)

    def _note_refusal(self, answer: httpx.Response | None, *parts: Sent) -> None:
        if answer is None:
            return
        if answer.status_code < 500 or NOTHING_WRITTEN in answer.text:
            self._ledger.refused |= {part.serial for part in parts}
        if answer.status_code not in (404, 410, 503):
            self._ledger.wrong.append(f"{answer.status_code}: {answer.text[:300]}")

    def _acknowledge(self, sent: Sent, location: str) -> None:
        type, id, _, version = location.split("/")[-4:]
        self._ledger.acknowledged.append(Acknowledged(type, id, int(version), sent.serial))


# ---------------------------------------------------------------------------------------------- at the end


def differences(store: Store, ledger: Ledger) -> list[str]:
    """What in the store differs from what was sent and acknowledged; empty when all is well."""
    found = list(ledger.wrong)
    where: dict[str, list[Acknowledged]] = {}
    kept: dict[tuple[str, str], list[tuple[int, str]]] = {}
    position = 0
    deleted: set[tuple[str, str, int]] = set()
    while versions := store.changes(position, 5000):
        for version in versions:
            if version.position != position + 1:
                found.append(f"the log goes from {position} to {version.position}")
            position = version.position
            key = (version.type, version.id)
            if version.deleted:
                deleted.add((*key, version.version))
                if key in ledger.deletions:
                    kept.setdefault(key, []).append((version.version, ""))
                continue
            serial = _serial(version.data)
            if not serial:
                continue
            where.setdefault(serial, []).append(Acknowledged(*key, version.version, serial))
            kept.setdefault(key, []).append((version.version, serial))
            sent = ledger.sent.get(serial)
            if sent is None or _content(version.data) != _content(sent.body):
                found.append(f"{version.reference} version {version.version} is not what was sent")
    found += [f"{serial} is there {len(places)} times" for serial, places in where.items() if len(places) > 1]
    found += [f"{serial} is there, and was refused" for serial in ledger.refused & where.keys()]
    for told in ledger.acknowledged:
        if told.serial and told not in where.get(told.serial, []):
            found.append(f"lost: {told}")
        if not told.serial and (told.type, told.id, told.version) not in deleted:
            found.append(f"lost deletion: {told}")
    found += _out_of_order(kept)
    groups: dict[str, set[bool]] = {}
    for sent in ledger.sent.values():
        if sent.group:
            groups.setdefault(sent.group, set()).add(sent.serial in where)
    found += [f"{group} is there in part" for group, there in groups.items() if len(there) > 1]
    return found


def _out_of_order(kept: dict[tuple[str, str], list[tuple[int, str]]]) -> list[str]:
    found = []
    for (type, id), versions in kept.items():
        if [number for number, _ in versions] != list(range(1, len(versions) + 1)):
            found.append(f"{type}/{id} has versions {[number for number, _ in versions]}")
        serials = [serial for _, serial in versions if serial]
        if serials != sorted(serials):
            found.append(f"{type}/{id} was written in another order than sent")
    return found


def _serial(data: Json) -> str:
    for identifier in data.get("identifier", []):
        if isinstance(identifier, dict) and identifier.get("system") == SYSTEM:
            return str(identifier["value"])
    return ""


def _content(data: Json) -> Json:
    return {name: value for name, value in data.items() if name not in ("id", "meta")}

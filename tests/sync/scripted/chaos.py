"""One layer of chaos over a scripted EHR: what networks, gateways and tired servers do, by a seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

from tests.sync.scripted.ehr import HTML, Ask, Reply, ScriptedEhr, outcome, send_reply
from tests.sync.scripted.records import order, visit

Trouble = Callable[["ChaoticEhr", Ask, Reply], Reply]


def _retry_later(value: str | None, status: int = 429) -> Trouble:
    headers = {} if value is None else {"retry-after": value}
    return lambda ehr, ask, reply: Reply(status, outcome("error", "throttled"), headers)


def _retry_at(seconds: float) -> Trouble:
    def trouble(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
        when = format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
        return Reply(429, outcome("error", "throttled"), {"retry-after": when})

    return trouble


def _status(status: int) -> Trouble:
    return lambda ehr, ask, reply: Reply(status, outcome("fatal", "exception"))


def _gateway(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    return Reply(503, body=HTML.body, headers=HTML.headers)


def _half(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    """The connection ends in the middle of the body."""
    whole = reply.content
    headers = {**reply.headers, "content-length": str(len(whole) + 1)}
    return Reply(reply.status, body=whole[: len(whole) // 2], headers=headers)


def _cut(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    """A body that is cut short somewhere before us: its length is right."""
    return Reply(reply.status, body=reply.content[: len(reply.content) * 2 // 3], headers=reply.headers)


def _loop(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    """The page names itself, or one before it, as the next one."""
    if reply.status != 200 or reply.data.get("resourceType") != "Bundle":
        return reply
    pages = [one for one in ehr.asked if one.type == ask.type and ehr.script.token in one.parameters]
    back = pages[0].parameters[ehr.script.token] if pages else "nowhere-0"
    query = f"{ehr.url}/{ask.type}?{ehr.script.token}={back}"
    return Reply(200, {**reply.data, "link": [{"relation": "next", "url": query}]})


def _forgets(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    ehr.forget()
    return ehr.honest(ask)


def _revokes(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    ehr.tokens.clear()
    return ehr.honest(ask)


def _works_on(ehr: ChaoticEhr, ask: Ask, reply: Reply) -> Reply:
    """The hospital goes on working while its records are read: something comes, changes or goes."""
    chance, number = ehr.chance, len(ehr.log)
    patient = f"Patient/p{chance.randrange(3)}"
    kind = chance.random()
    visits = [ref for ref in ehr.records if ref.startswith("Encounter/")]
    if kind < 0.4:
        ehr.put(order(patient, f"later-{number}"))
    elif kind < 0.6:
        ehr.put(visit(patient, f"later-{number}"))
    elif kind < 0.8 and len(visits) > 3:
        ehr.delete(chance.choice(visits))
    else:
        orders = [ref for ref in ehr.records if ref.startswith("ServiceRequest/")]
        ehr.put({**ehr.records[chance.choice(orders)], "priority": chance.choice(["routine", "urgent"])})
    return reply


class _BreaksOff(Reply):
    """Headers, and then nothing."""


class _Drips(Reply):
    """The body comes in small pieces."""

    pause = 0.01


class _Stalls(_Drips):
    """It comes so slowly that nobody waits for it."""

    pause = 0.4


def _as(kind: type[Reply]) -> Trouble:
    return lambda ehr, ask, reply: kind(reply.status, reply.data, reply.headers, reply.body)


QUICK_TROUBLE: dict[str, Trouble] = {
    "429 with seconds": _retry_later("0"),
    "429 with a date": _retry_at(0.2),
    "429 with a date in the past": _retry_at(-3600),
    "429 with garbage": _retry_later("soon, 1 or so"),
    "429 without a word": _retry_later(None),
    "503 with seconds": _retry_later("0", 503),
    "500": _status(500),
    "502": _status(502),
    "504": _status(504),
    "a page of the gateway": _gateway,
    "HTML with 200": lambda ehr, ask, reply: HTML,
    "half a body": _half,
    "a body cut short": _cut,
    "it breaks off": _as(_BreaksOff),
    "slow bytes": _as(_Drips),
    "pages lead back": _loop,
    "pages expire": _forgets,
    "tokens expire": _revokes,
    "records change": _works_on,
}
TROUBLE: dict[str, Trouble] = {
    **QUICK_TROUBLE,
    "429 with a huge wait": _retry_later("86400"),
    "429 until a date far away": _retry_at(10 * 365 * 86400),
    "too slow": _as(_Stalls),
}
"""Also what costs time, or ends a run."""


@dataclass(eq=False)
class ChaoticEhr(ScriptedEhr):
    """A scripted EHR whose answers go wrong by chance.

    share: of the answers that go wrong
    """

    seed: int = 0
    share: float = 0.15
    trouble: Sequence[str] = tuple(TROUBLE)
    calm: bool = False
    met: Counter[str] = field(default_factory=Counter)
    """How often each trouble was made."""

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)

    async def serve(self, ask: Ask, send: Any) -> None:
        reply = self.answer(ask)
        if not self.calm and self.chance.random() < self.share:
            kind = self.chance.choice(self.trouble)
            self.met[kind] += 1
            reply = TROUBLE[kind](self, ask, reply)
        if isinstance(reply, _BreaksOff):
            head = {"type": "http.response.start", "status": reply.status, "headers": []}
            await send(head)
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
        elif isinstance(reply, _Drips):
            await self._drip(reply, send)
        elif "content-length" in reply.headers:
            raw = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
            await send({"type": "http.response.start", "status": reply.status, "headers": raw})
            await send({"type": "http.response.body", "body": reply.content, "more_body": True})
        else:
            await send_reply(send, reply)

    async def _drip(self, reply: _Drips, send: Any) -> None:
        headers = [(b"content-type", b"application/fhir+json")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        whole = reply.content
        size = len(whole) // 4 + 1
        for start in range(0, len(whole), size):
            await asyncio.sleep(reply.pause)
            part = whole[start : start + size]
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

"""An EHR that plays a vendor by its script, over real HTTP, and may contradict what it says of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.sync.scripted.scripts import Script

Json = dict[str, Any]
CLIENT, SECRET = "coprod", "a secret of this test"


@dataclass(frozen=True)
class Ask:
    """One request. `type` and `id` are "" where its path has none."""

    path: str
    type: str
    id: str
    parameters: dict[str, str]
    is_history: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def with_(self, **changed: str) -> Ask:
        return Ask(self.path, self.type, self.id, {**self.parameters, **changed}, self.is_history)

    def without(self, *names: str) -> Ask:
        kept = {name: value for name, value in self.parameters.items() if name not in names}
        return Ask(self.path, self.type, self.id, kept, self.is_history)


@dataclass
class Reply:
    """What is answered. `data` is sent as JSON unless `body` says otherwise."""

    status: int
    data: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def content(self) -> bytes:
        return json.dumps(self.data).encode() if self.body is None else self.body


def outcome(severity: str, code: str, detail: str = "", text: str = "") -> Json:
    issue: Json = {"severity": severity, "code": code}
    if detail:
        issue["details"] = {"coding": [{"code": detail}]}
    if text:
        issue["diagnostics"] = text
    return {"resourceType": "OperationOutcome", "issue": [issue]}


HTML = Reply(200, body=b"<!doctype html><title>Sign in</title>", headers={"content-type": "text/html"})

Answer = Callable[["ScriptedEhr", Ask], Reply]


@dataclass(eq=False)
class ScriptedEhr:
    """Records of one hospital, and how its server answers.

    contradicts: answers in place of the script; calls `ehr.honest(ask)` for what the script would answer
    signed_in:   whether it wants a token, which its token endpoint gives for CLIENT and SECRET
    """

    script: Script
    contradicts: Answer | None = None
    signed_in: bool = False
    records: dict[str, Json] = field(default_factory=dict)
    log: list[tuple[str, Json | None, str]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    asked: list[Ask] = field(default_factory=list)
    contradicted: int = 0
    """How many answers were not the honest ones."""
    tokens: set[str] = field(default_factory=set)
    clock: datetime = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
    _url: str = ""
    sessions: dict[str, tuple[list[str], Ask]] = field(default_factory=dict)
    _said: list[tuple[Ask, int, bytes]] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)

    @property
    def url(self) -> str:
        return self._url

    @url.setter
    def url(self, served: str) -> None:
        self._url = served.removesuffix("/fhir") + self.script.base

    # --- what happens at the hospital ---

    def load(self, resources: Iterable[Json]) -> ScriptedEhr:
        for resource in resources:
            if resource["resourceType"] in self.script.types:
                self.put(resource)
        return self

    def put(self, resource: Json, *, stamped: bool = True) -> None:
        """Create or change a record; stamped: its version and time say so."""
        reference = f"{resource['resourceType']}/{resource['id']}"
        before = self.records.get(reference)
        if stamped or before is None:
            self.clock += timedelta(minutes=1)
            number = int(before["meta"]["versionId"]) + 1 if before else 1
            stamp = {"versionId": str(number), "lastUpdated": self.clock.isoformat()}
            meta = {**resource.get("meta", {}), **stamp}
        else:
            meta = before["meta"]
        self.records[reference] = {**resource, "meta": meta}
        self.log.append((reference, self.records[reference], self.clock.isoformat()))

    def delete(self, reference: str) -> None:
        self.clock += timedelta(minutes=1)
        del self.records[reference]
        self.gone.add(reference)
        self.log.append((reference, None, self.clock.isoformat()))

    # --- what its server answers ---

    def answer(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        if self.contradicts is None:
            return self.honest(ask)
        self._said.clear()
        reply = self.contradicts(self, ask)
        self.contradicted += (ask, reply.status, reply.content) not in self._said
        return reply

    def honest(self, ask: Ask) -> Reply:
        """What the script answers."""
        reply = self._scripted(ask)
        self._said.append((ask, reply.status, reply.content))
        return reply

    def _scripted(self, ask: Ask) -> Reply:
        if ask.path == "metadata":
            return Reply(200, self.script.statement())
        if ask.path == ".well-known/smart-configuration":
            return Reply(200, self._smart()) if self.signed_in else Reply(404, outcome("error", "not-found"))
        if ask.path == "token":
            return self.token()
        if self.signed_in and ask.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return Reply(401, outcome("error", "login"))
        if self.script.token in ask.parameters:
            return self._page(ask)
        offer = self.script.types.get(ask.type)
        if offer is None:
            return Reply(404, outcome("error", "not-supported"))
        if ask.id:
            return self._read(f"{ask.type}/{ask.id}")
        if ask.is_history:
            return self._history(ask)
        if "search-type" not in offer.interactions:
            return Reply(403, outcome("error", "not-supported"))
        if offer.needs and not any(set(needs) <= ask.parameters.keys() for needs in offer.needs):
            return Reply(400, outcome("error", "required", text="a parameter that is required is missing"))
        return self._first(ask, self.found(ask))

    def token(self) -> Reply:
        token = f"token-{next(self._numbers)}"
        self.tokens.add(token)
        return Reply(200, {"access_token": token, "token_type": "bearer", "expires_in": 300})

    def _smart(self) -> Json:
        return {
            "token_endpoint": f"{self.url}/token",
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "scopes_supported": ["system/*.read"],
        }

    def _read(self, reference: str) -> Reply:
        if reference in self.records:
            return Reply(200, self.records[reference])
        return Reply(410 if reference in self.gone else 404, outcome("error", "not-found"))

    def found(self, ask: Ask) -> list[str]:
        """The references that a search finds, in the order in which they are listed."""
        found = [ref for ref in self.records if ref.startswith(f"{ask.type}/")]
        if patient := ask.parameters.get("patient"):
            found = [ref for ref in found if f'"Patient/{patient}"' in json.dumps(self.records[ref])]
        if ids := ask.parameters.get("_id"):
            found = [ref for ref in found if ref.partition("/")[2] in ids.split(",")]
        if since := ask.parameters.get("_lastUpdated", "").removeprefix("ge"):
            then = datetime.fromisoformat(since)
            found = [r for r in found if datetime.fromisoformat(self._stamp(r)) >= then]
        if ask.parameters.get("_sort") == "_lastUpdated":
            found.sort(key=self._stamp)
        return found

    def _stamp(self, reference: str) -> str:
        stamp: str = self.records[reference]["meta"]["lastUpdated"]
        return stamp

    def _first(self, ask: Ask, found: list[str]) -> Reply:
        if ask.parameters.get("_summary") == "count":
            return Reply(200, {"resourceType": "Bundle", "type": "searchset", "total": len(found)})
        token = f"s{next(self._numbers)}"
        self.sessions[token] = (found, ask)
        return self.bundle(token, 0)

    def _page(self, ask: Ask) -> Reply:
        token, _, start = ask.parameters[self.script.token].rpartition("-")
        if token not in self.sessions:
            return Reply(410, outcome("error", "not-found"))
        return self.bundle(token, int(start))

    def forget(self) -> None:
        """What an expired session, or a restarted server, has forgotten."""
        self.sessions.clear()

    def bundle(self, token: str, start: int) -> Reply:
        found, ask = self.sessions[token]
        total = len(found)
        if self.script.paging == "live":
            found = self.found(ask)
        size = min(int(ask.parameters.get("_count", "5")), self.script.largest)
        shown = [ref for ref in found[start : start + size] if ref in self.records]
        data: Json = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": total,
            "link": [{"relation": "self", "url": f"{self.url}/{ask.type}?{urlencode(ask.parameters)}"}],
            "entry": [self.entry(self.records[ref]) for ref in shown],
        }
        if start + size < len(found):
            data["link"].append({"relation": "next", "url": self.link(ask, token, start + size)})
        return Reply(200, data)

    def entry(self, resource: Json) -> Json:
        name = f"{resource['resourceType']}/{resource['id']}"
        return {"fullUrl": f"{self.url}/{name}", "resource": resource, "search": {"mode": "match"}}

    def link(self, ask: Ask, token: str, start: int) -> str:
        query = urlencode({self.script.token: f"{token}-{start}"})
        return f"{self.url}?{query}" if self.script.token == "_getpages" else f"{self.url}/{ask.type}?{query}"

    def _history(self, ask: Ask) -> Reply:
        since = datetime.fromisoformat(ask.parameters.get("_since", "1970-01-01T00:00:00+00:00"))
        entries = []
        for reference, resource, when in reversed(self.log):
            if reference.startswith(f"{ask.type}/") and datetime.fromisoformat(when) >= since:
                method, held = ("DELETE", {}) if resource is None else ("PUT", {"resource": resource})
                entries.append({**held, "request": {"method": method, "url": reference}})
        data = {"resourceType": "Bundle", "type": "history", "total": len(entries), "entry": entries}
        return Reply(200, data)

    # --- over HTTP ---

    def app(self) -> Callable[..., Any]:
        async def serve(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await self.serve(self.read(scope), send)

        return serve

    async def serve(self, ask: Ask, send: Any) -> None:
        await send_reply(send, self.answer(ask))

    def read(self, scope: Any) -> Ask:
        """The request that ASGI describes."""
        path = scope["path"].removeprefix(self.script.base).strip("/")
        steps = path.split("/")
        type, rest = (steps[0], steps[1:]) if steps[0][:1].isupper() else ("", [])
        history = rest == ["_history"]
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        parameters = dict(parse_qsl(scope["query_string"].decode()))
        return Ask(path, type, rest[0] if rest and not history else "", parameters, history, headers)


async def send_reply(send: Any, reply: Reply) -> None:
    headers = {"content-type": "application/fhir+json", **reply.headers}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": raw})
    await send({"type": "http.response.body", "body": reply.content})

"""An EHR that shows its records only for an access token, and names the server that gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.sync.server import Ehr, Json


@dataclass
class GuardedEhr(Ehr):
    """`metadata` and .well-known/smart-configuration are for anybody."""

    token_url: str = ""
    """Its authorization server; empty: its own, which gives everybody a token."""
    scope: str | None = None
    """What that one grants; None: it does not say."""
    accepts: Callable[[str], bool] = lambda token: token == "s3cret-token"
    more: Json = field(default_factory=dict)
    """What else is in its smart-configuration."""
    tokens: list[str] = field(default_factory=list)
    """Those that it has accepted, each once, in their order."""
    refused: int = 0

    def app(self) -> Starlette:
        made = super().app()
        made.add_middleware(_Guard, ehr=self)
        return made

    @property
    def authority(self) -> str:
        return self.token_url or self.url.removesuffix("/fhir") + "/token"

    def answer(self, request: Request) -> Response | None:
        """What is answered in place of records."""
        path = request.url.path
        if path == "/token":
            said = {"access_token": "s3cret-token", "token_type": "bearer", "expires_in": 300}
            return JSONResponse(said if self.scope is None else {**said, "scope": self.scope})
        if path == "/fhir/.well-known/smart-configuration":
            return JSONResponse({"token_endpoint": self.authority, **self.more})
        if path == "/fhir/metadata":
            return None
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.accepts(token):
            self.refused += 1
            return Response(status_code=401)
        if token not in self.tokens:
            self.tokens.append(token)
        return None


class _Guard:
    def __init__(self, app: ASGIApp, ehr: GuardedEhr) -> None:
        self._app = app
        self._ehr = ehr

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._ehr.answer(Request(scope, receive)) if scope["type"] == "http" else None
        await (answer or self._app)(scope, receive, send)

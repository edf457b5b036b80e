"""A development OpenID provider: whoever opens it is whom they choose. It is for the demo, and only there.

It listens on this machine only, signs with a key that nobody keeps, and nothing but the demo can start it:
`serve` does not import it, and no setting names it.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from fhir_coprod.api import server

CLIENT: Final = "demo"
_SECONDS: Final = 60.0
"""How long a code can be changed."""
_START_SECONDS: Final = 10.0

_PAGE: Final = Markup("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who do you want to be? · fhir-coprod demo</title>
<style>
body {{ margin: 0 auto; max-width: 40rem; padding: 1rem 1.25rem; font: 16px/1.5 system-ui, sans-serif; }}
a {{ display: block; border: 1px solid #17506b; border-radius: .4rem; padding: .7rem 1rem; margin: .7rem 0;
     color: #17506b; text-decoration: none; }}
a b {{ display: block; }}
.note {{ border-left: .35rem solid #a8321f; padding-left: .8rem; }}
</style>
</head>
<body>
<h1>Who do you want to be?</h1>
<p class="note">This is the demo's own sign-in, for development: it asks nobody for anything. A real site has
a real provider here, and <code>fhir-coprod serve</code> cannot be told to use this one.</p>
{people}
</body>
</html>
""")


@dataclass(frozen=True)
class Persona:
    """Somebody to be in the demo: what the page says of them, and the claims that the provider makes."""

    key: str
    name: str
    words: str
    claims: Mapping[str, Any]


@dataclass
class _Code:
    """What a code stands for until it is changed."""

    who: Persona
    nonce: str
    challenge: str
    until: float


@dataclass
class Provider:
    """The provider, with those whom one can be.

    back: the addresses to which people are sent back
    """

    issuer: str
    people: Sequence[Persona]
    back: Sequence[str]
    _codes: dict[str, _Code] = field(default_factory=dict)
    _key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "demo", "use": "sig"}))

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._about),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/jwks", self._jwks),
                Route("/logout", self._logout),
            ]
        )

    async def _about(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "end_session_endpoint": f"{self.issuer}/logout",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none"],
                "authorization_response_iss_parameter_supported": True,
            }
        )

    async def _jwks(self, _: Request) -> Response:
        return JSONResponse({"keys": [self._key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        """The page of those whom one can be; one of its links says who, and leads back."""
        asked = dict(request.query_params)
        is_ours = asked.get("client_id") == CLIENT and asked.get("redirect_uri") in self.back
        if not is_ours or asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
            return HTMLResponse("This provider is for the demo's own pages only.", 400)
        chosen = next((each for each in self.people if each.key == asked.get("be")), None)
        if chosen is None:
            links = Markup("").join(
                Markup('<a href="/authorize?{}"><b>{}</b>{}</a>\n').format(
                    urlencode(asked | {"be": each.key}), each.name, each.words
                )
                for each in self.people
            )
            return HTMLResponse(_PAGE.format(people=links), headers=_HEADERS)
        code = secrets.token_urlsafe(24)
        now = time.monotonic()
        self._codes = {key: held for key, held in self._codes.items() if held.until > now}
        self._codes[code] = _Code(chosen, asked.get("nonce", ""), asked["code_challenge"], now + _SECONDS)
        answer = {"code": code, "state": asked.get("state", ""), "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 303)

    async def _token(self, request: Request) -> Response:
        asked = dict(parse_qsl((await request.body()).decode(errors="replace"), max_num_fields=20))
        code = self._codes.pop(asked.get("code", ""), None)
        digest = hashlib.sha256(asked.get("code_verifier", "").encode()).digest()
        proven = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if code is None or code.until < time.monotonic() or proven != code.challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": code.who.key,
            "aud": CLIENT,
            "nonce": code.nonce,
            "iat": now,
            "exp": now + 60,
            "auth_time": now,
            "name": code.who.name,
            **code.who.claims,
        }
        word = jwt.encode({"alg": "ES256", "kid": "demo"}, claims, self._key, algorithms=["ES256"])
        return JSONResponse(
            {"token_type": "Bearer", "access_token": "none", "expires_in": 1, "id_token": word},
            headers={"Cache-Control": "no-store"},
        )

    async def _logout(self, request: Request) -> Response:
        """Nobody is signed in here for longer than a click, so it only leads back."""
        back = request.query_params.get("post_logout_redirect_uri", "")
        if back not in self.back:
            return HTMLResponse("You are signed out.", headers=_HEADERS)
        return RedirectResponse(back, 303)


_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@contextmanager
def providing(people: Sequence[Persona], back: Sequence[str]) -> Iterator[str]:
    """Runs the provider on a free port of this machine until the block ends; yields its address."""
    with server.listen("127.0.0.1", 0) as listener:
        issuer = server.address(listener)
        app = Provider(issuer, people, back).app()
        config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            running.should_exit = True
            thread.join(_START_SECONDS)

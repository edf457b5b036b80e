"""/auth/token, where programs get access tokens, and the documents that say how.

Sources: https://hl7.org/fhir/smart-app-launch/backend-services.html; RFC 6749, 4.4 and 5; RFC 7523; for the
documents https://hl7.org/fhir/smart-app-launch/conformance.html and RFC 8414.

Strangers learn that a request was refused and by which error of OAuth; the log says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from fhir_coprod import jsontext
from fhir_coprod.access import assertions, clients, tokens
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.words import Untrusted
from fhir_coprod.api.answer import Answer, send_answer
from fhir_coprod.api.call import headers_of, read_body
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.failures import extra_headers, told
from fhir_coprod.api.gate import Gate, failing
from fhir_coprod.errors import BadRequest, CoprodError, TooMany, plain
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store

log = logging.getLogger("fhir_coprod.access")

TOKEN: Final = "/auth/token"  # noqa: S105 - a path
CONFIGURATIONS: Final = ("/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration")
PATHS: Final = frozenset({TOKEN, *CONFIGURATIONS})
_LONGEST_FORM: Final = 50_000
_MOST_FIELDS: Final = 20
_FORM: Final = "application/x-www-form-urlencoded"


class Refused(Exception):
    """A request for a token is refused: an error of OAuth, and the reason for the log.

    client: who has proven to be the one that asks; "" if nobody has
    """

    def __init__(self, error: str, reason: str, words: str = "", status: int = 400, client: str = "") -> None:
        super().__init__(error)
        self.client = client
        self.error = error
        self.reason = reason
        self.words = words
        self.status = status


async def _nothing(_: int) -> None:
    """There is always room for a form."""


def token_url(base: str) -> str:
    """Our token endpoint, beside the FHIR root: https://coprod.example/fhir → …/auth/token."""
    return base.removesuffix("/fhir") + TOKEN


class Authorization:
    """What there is at the paths `PATHS`. It belongs to one event loop."""

    def __init__(self, endpoint: Endpoint, store: Store) -> None:
        self._endpoint = endpoint
        self._gate: Gate = endpoint.gate
        self._store = store

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Refused as refused:
            log.warning("no token: %s", plain(refused.reason))
            body: Json = {"error": refused.error}
            if refused.words:
                body["error_description"] = refused.words
            answer = Answer(refused.status, jsontext.encode(body))
        except Exception as error:  # noqa: BLE001  # the last line of defence; it is logged and answered
            answer = _failed(told(error, "token"))
        await send_answer(answer, send, media_type="application/json", head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        headers = headers_of(scope)
        base = self._endpoint.base(scope.get("scheme", "http"), headers.get("host", ""))
        method = scope["method"]
        if scope["path"] in CONFIGURATIONS:
            if method not in ("GET", "HEAD"):
                return Answer(405, b"", headers={"allow": "GET, HEAD"})
            await self._gate.fresh()
            return Answer(200, jsontext.encode(configuration(base, self._gate)))
        if method != "POST":
            return Answer(405, jsontext.encode({"error": "invalid_request"}), headers={"allow": "POST"})
        if scope["query_string"]:
            raise Refused("invalid_request", "the request has a query", "Send everything in the body.")
        address = (scope.get("client") or ("",))[0]
        if seconds := self._gate.failures.empty_for(failing(address)):
            raise TooMany("Too many requests for tokens failed; try again later.", seconds)
        body = await read_body(receive, headers, _LONGEST_FORM, _nothing)
        try:
            name, answer = await self._token(_fields(headers.get("content-type", ""), body), base)
        except Refused as refused:
            self._gate.failures.take(failing(address))
            await self._remember(refused.client, address, refused.status)
            raise
        await self._remember(name, address, 200)
        return answer

    async def _remember(self, client: str, address: str, status: int) -> None:
        """Remember that a token was given or refused, before the answer leaves. Raises Unrecorded."""
        await self._endpoint.auditing.keep_entrance("token", status, address, Rights("program", client))

    async def _token(self, form: dict[str, str], base: str) -> tuple[str, Answer]:
        """The client, and the answer with its token."""
        gate = self._gate
        if form.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type", "grant_type is not client_credentials")
        if form.get("client_assertion_type") != assertions.TYPE:
            raise Refused("invalid_client", "it brings no assertion (client_assertion_type)")
        gate.look_again()  # it may have been registered just now
        await gate.fresh()
        try:
            client, word = await asyncio.to_thread(
                assertions.client_of,
                form.get("client_assertion", ""),
                token_url(base),
                gate.clients,
                gate.fetched,
            )
        except Untrusted as error:
            raise Refused("invalid_client", error.reason) from None
        if form.get("client_id", client.name) != client.name:
            raise Refused(
                "invalid_client",
                f"client {client.name}: client_id is another than in the assertion",
                client=client.name,
            )
        if not await self._endpoint.write(partial(assertions.take, client=client, word=word)):
            reason = f"client {client.name}: the assertion was used before (jti)"
            raise Refused("invalid_client", reason, client=client.name)
        try:
            scopes = clients.granted(client, form.get("scope", ""))
        except BadRequest as error:
            reason = f"client {client.name}: {error}"
            raise Refused("invalid_scope", reason, client=client.name) from None
        key = await asyncio.to_thread(gate.signer.current, gate.keys)
        # The wait may have been long: a client that was removed meanwhile gets nothing.
        gate.look_again()
        await gate.fresh()
        if gate.clients.get(client.name) != client:
            raise Refused("invalid_client", f"client {client.name} was removed", client=client.name)
        given = tokens.issue(client, scopes, base, key, time.time())
        log.info("token for client %s", client.name)
        said = {
            "access_token": given,
            "token_type": "bearer",
            "expires_in": tokens.LIVES,
            "scope": " ".join(map(str, scopes)),
        }
        return client.name, Answer(200, jsontext.encode(said), headers={"pragma": "no-cache"})


def _fields(content_type: str, body: bytes) -> dict[str, str]:
    """The fields of a form. Raises Refused, also if one is there twice (RFC 6749, 3.2)."""
    if content_type.partition(";")[0].strip().lower() != _FORM:
        raise Refused("invalid_request", "it is no form", f"Send a form: Content-Type: {_FORM}.")
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_MOST_FIELDS, keep_blank_values=True)
    except ValueError:
        raise Refused("invalid_request", "its form cannot be read") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused("invalid_request", "it has a field twice", "Send each field once.")
    return fields


def _failed(error: CoprodError) -> Answer:
    """The answer to what is no matter of OAuth: no room, another Host, a fault."""
    name = "temporarily_unavailable" if error.status in (429, 503) else "server_error"
    name = "invalid_request" if 400 <= error.status < 429 else name
    body = {"error": name, "error_description": error.message}
    return Answer(error.status, jsontext.encode(body), headers=extra_headers(error))


def configuration(base: str, gate: Gate) -> Json:
    """.well-known/smart-configuration: what there is, and nothing else."""
    if not gate.clients:
        issuers = gate.issuers.names
        # Tokens of others are taken; where to get one, their own documents say.
        return {"capabilities": [], "grant_types_supported": []} | ({"issuer": issuers[0]} if issuers else {})
    return {
        "token_endpoint": token_url(base),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.rs", "system/*.cruds"],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }

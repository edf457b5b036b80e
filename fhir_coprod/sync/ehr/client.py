"""The HTTP client for one EHR: what is its own, redirects, authorization, and answers that are FHIR.

The EHR's credentials are never sent to another host, but for those that an authorization server asks for.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from fhir_coprod import jsontext
from fhir_coprod.errors import EhrAnswer, NotJson
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import vendor as vendors
from fhir_coprod.sync.ehr.authorization import Access, authorization, tls
from fhir_coprod.sync.ehr.sending import Answer, Politeness, Sender, TokenBucket, shown
from fhir_coprod.sync.ehr.vendor import Vendor

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_.-]{0,39}|[A-Za-z]{0,10}[-_]?\d{1,6}")
"""What a server says as a code is told only if it looks like one: a log is no place for names and numbers of
people."""
_MOST_CODES: Final = 5
_MAX_REDIRECTS = 3


class EhrClient:
    """One EHR over HTTP; use as an async context manager.

    Raises ConfigError if the vendor file or the secret that the settings name cannot be used.
    """

    def __init__(
        self,
        ehr: EhrSettings,
        *,
        politeness: Politeness | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.ehr = ehr
        self.base = ehr.url.rstrip("/")
        politeness = politeness or Politeness()
        self._vendor_headers = vendors.load(ehr.vendor).headers if ehr.vendor else {}
        self._http = httpx.AsyncClient(
            verify=tls(ehr),
            timeout=ehr.timeout,
            transport=transport,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=politeness.connections),
            headers={
                "Accept": "application/fhir+json",
                "Cache-Control": "no-cache",
                "User-Agent": "fhir-coprod",
            },
        )
        bucket = TokenBucket(ehr.requests_per_second, politeness)
        self._sender = Sender(ehr.name, ehr.timeout, politeness, bucket, self._http)
        # The authorization server may be another one: if it fails, the EHR itself is not left alone.
        accounts = Sender(ehr.name, ehr.timeout, politeness, bucket, self._http)
        self._authorization = authorization(ehr, accounts, self._http, politeness)
        # Exports take hours and their files may be elsewhere: what fails there leaves the EHR usable, too.
        self._exports = Sender(ehr.name, ehr.timeout, politeness, bucket, self._http)
        self.politeness = politeness

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def heed(self, vendor: Vendor) -> None:
        """From now on send the headers of `vendor`, which may be known only from the server's answer."""
        self._vendor_headers = vendor.headers

    def is_own(self, url: str) -> bool:
        """Whether `url` belongs to this EHR: same scheme, host and port, and below its base address."""
        try:
            # With `..` resolved, as in the request; a server would resolve it too.
            url = str(httpx.URL(url))
            mine, other = urlsplit(self.base), urlsplit(url)
            same = _origin(mine.geturl()) == _origin(url)
        except (ValueError, httpx.InvalidURL):  # malformed brackets or port
            return False
        if "%2e" in other.path.lower() or "/../" in f"{other.path}/":
            return False
        return same and (other.path == mine.path or other.path.startswith(f"{mine.path.rstrip('/')}/"))

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET `url` (absolute and of this EHR, or relative to its base), with any status.

        Raises EhrUnreachable if there is no answer even after retries, EhrAnswer if the server redirects to
        another host or answers with more than `MAX_ANSWER` bytes, EhrError if it asks us to wait too long.
        """
        target = url if "://" in url else f"{self.base}/{url.lstrip('/')}"
        for _ in range(_MAX_REDIRECTS + 1):
            if not self.is_own(target):
                raise EhrAnswer(
                    f"{self.ehr.name}: the server points to {shown(target)}, which is not below "
                    f"{self.base}; nothing is asked there. If it is the same EHR, set its url so."
                )
            answer = await self._authorized(target, headers or {})
            if answer.status not in _REDIRECTS:
                return answer
            try:
                target = str(httpx.URL(target).join(answer.headers.get("Location", "")))
            except (httpx.InvalidURL, ValueError):
                raise EhrAnswer(
                    f"{self.ehr.name}: the server redirects {shown(target)} to something that is no address."
                ) from None
        raise EhrAnswer(f"{self.ehr.name}: the server redirects in circles at {shown(target)}.")

    def is_trusted(self, url: str) -> bool:
        """Whether what opens the EHR may be shown at `url`: its own host, or one of `bulk_hosts`."""
        try:
            origin = _origin(str(httpx.URL(url)))
            return any(origin == _origin(each) for each in (self.base, *self.ehr.bulk_hosts))
        except (ValueError, httpx.InvalidURL):
            return False

    async def once(
        self, method: str, url: str, headers: Mapping[str, str], *, body: bytes = b"", with_token: bool = True
    ) -> Answer:
        """The answer to a request of any method that is sent once (twice if we are refused and can show
        something better). Redirects are not followed.

        with_token: show what opens the EHR, if the address is trusted

        Raises EhrUnreachable if there is no answer, EhrAnswer if it is too large or `url` is no address.
        """
        used = await self._shown_at(url, with_token=with_token)
        answer = await self._exports.once(self._made(method, url, {**headers, **used}, body))
        if answer.status != httpx.codes.UNAUTHORIZED or not used:
            return answer
        better = await self._instead_of(used)
        if better == used:
            return answer
        return await self._exports.once(self._made(method, url, {**headers, **better}, body))

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], *, with_token: bool
    ) -> AsyncIterator[httpx.Response]:
        """The answer to GET `url`, its body still to be read. What goes for `once` goes for it."""
        used = await self._shown_at(url, with_token=with_token)
        response = await self._exports.stream(self._made("GET", url, {**headers, **used}))
        if response.status_code == httpx.codes.UNAUTHORIZED and used:
            better = await self._instead_of(used)
            if better != used:
                await response.aclose()
                response = await self._exports.stream(self._made("GET", url, {**headers, **better}))
        try:
            yield response
        finally:
            await response.aclose()

    async def _shown_at(self, url: str, *, with_token: bool) -> dict[str, str]:
        if not with_token or not self.is_trusted(url):
            return {}
        return {**self._vendor_headers, **await self._authorization.headers()}

    async def _instead_of(self, used: Mapping[str, str]) -> dict[str, str]:
        own = {name: value for name, value in used.items() if name not in self._vendor_headers}
        return {**self._vendor_headers, **await self._authorization.instead_of(own)}

    def _made(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> httpx.Request:
        try:
            return self._http.build_request(method, url, headers=dict(headers), content=body or None)
        except httpx.InvalidURL:
            raise EhrAnswer(f"{self.ehr.name}: {shown(url)} is not an address.") from None

    async def access(self) -> Access:
        """How we sign in, and what we may not read. Raises EhrError if we cannot."""
        return await self._authorization.access()

    @property
    def is_left_alone(self) -> bool:
        """Whether so many requests in a row have failed that the next ones fail at once."""
        return self._sender.is_left_alone

    async def json(self, url: str) -> tuple[Answer, Json]:
        """The answer to GET `url`, and its FHIR resource. Raises EhrAnswer unless it is 200 with one."""
        answer = await self.get(url)
        self.require_fhir(answer)
        return answer, jsontext.decode(answer.body)

    def require_fhir(self, answer: Answer) -> None:
        """Raise EhrAnswer, which says what to do, unless the answer is 200 and JSON with a resourceType."""
        name = self.ehr.name
        self.require_let_in(answer)
        if answer.markup == "XML":
            raise EhrAnswer(
                f"{name}: the server answered XML at {shown(answer.url)} ({answer.status}) although only "
                "JSON was asked for; its vendor has to turn JSON on, or url is that of another interface."
            )
        if answer.markup:
            raise EhrAnswer(
                f"{name}: the server answered HTML instead of FHIR JSON at {shown(answer.url)} "
                f"({answer.status}); is url its FHIR base address?"
            )
        if answer.status != 200:
            codes = ", ".join(sorted(filter(_CODE.fullmatch, answer.codes()))[:_MOST_CODES])
            raise EhrAnswer(
                f"{name}: the server answered {answer.status} at {shown(answer.url)}"
                + (f" ({codes})." if codes else ".")
            )
        try:
            data = jsontext.decode(answer.body)
        except NotJson as error:
            raise EhrAnswer(f"{name}: {shown(answer.url)}: {error.message}") from None
        if not isinstance(data, dict) or "resourceType" not in data:
            raise EhrAnswer(
                f"{name}: the server answered JSON that is no FHIR resource at {shown(answer.url)}."
            )

    def require_let_in(self, answer: Answer) -> None:
        """Raise EhrAnswer if the server does not show us this, whoever it takes us for."""
        if answer.status in (401, 403):
            raise EhrAnswer(
                f"{self.ehr.name}: the server refuses us ({answer.status}); check `auth` and what it may see."
            )

    async def _authorized(self, url: str, headers: Mapping[str, str]) -> Answer:
        """The answer to one request; if we are refused and can show something better, to a second one."""
        used = await self._authorization.headers()
        answer = await self._answer(url, headers, used)
        if answer.status != httpx.codes.UNAUTHORIZED or not used:
            return answer
        better = await self._authorization.instead_of(used)
        return answer if better == used else await self._answer(url, headers, better)

    async def _answer(self, url: str, headers: Mapping[str, str], authorization: Mapping[str, str]) -> Answer:
        sent = {**self._vendor_headers, **headers, **authorization}
        request = self._made("GET", url, sent)
        return await self._sender.answer(lambda: request)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default

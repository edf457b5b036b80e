"""The HTTP client for one EHR: rate limit, retries, circuit breaker, redirects and authorization.

A request waits for the EHR's token bucket. It is retried only if that can help (no answer, or 408, 425, 429,
500, 502, 503 or 504), after the time in `Retry-After` or an exponentially growing pause with jitter. If
several requests in a row have failed for good, the circuit breaker makes the next ones fail at once for a
while. The EHR's credentials are never sent to another host.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx

from fhir_coprod import jsontext
from fhir_coprod.errors import ConfigError, EhrAnswer, EhrError, EhrUnreachable, NotJson
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import BasicAuth, BearerAuth, EhrSettings
from fhir_coprod.sync.ehr import remarks
from fhir_coprod.sync.ehr import vendor as vendors
from fhir_coprod.sync.ehr.vendor import Vendor

MAX_ANSWER = 200_000_000
"""The most bytes in one answer; a server that sends more does not page as asked."""

_RETRIED = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 3
_TOO_MANY = 429
_CODINGS = frozenset(("gzip", "x-gzip", "deflate", "identity", ""))
_YEAR = 365 * 24 * 3600


@dataclass(frozen=True)
class Politeness:
    """How patient we are with one EHR; times in seconds."""

    attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 30.0
    longest_retry_after: float = 120.0
    """If a server asks us to wait longer, we leave it alone for this run."""
    failures_to_open: int = 3
    """How many requests in a row must fail for good to open the circuit breaker."""
    open_for: float = 30.0
    connections: int = 8
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic
    dice: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True)
class Answer:
    """The EHR's answer to one request, with any status."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def time(self) -> datetime | None:
        """The server's own time when it answered (header Date); None if it did not say."""
        stamp = self.headers.get("Date")
        try:
            return parsedate_to_datetime(stamp).astimezone(UTC) if stamp else None
        except (ValueError, OverflowError):
            return None

    @property
    def markup(self) -> str:
        """HTML or XML, if it is that instead of JSON; otherwise ""."""
        kind = self.headers.get("Content-Type", "").lower()
        if "html" not in kind and self.body.lstrip()[:1] != b"<":
            return ""
        return "XML" if "html" not in kind and ("xml" in kind or _XML.match(self.body)) else "HTML"

    def codes(self) -> frozenset[str]:
        """Codes in an OperationOutcome's issues, `code` and `details.coding.code`; empty if it is none."""
        return frozenset(code for remark in remarks.read(self.body) or () for code in remark.codes)

    def only_says(self, ignored: Collection[str]) -> bool:
        """Whether it is an OperationOutcome in which every issue has a code that is ignored."""
        said = remarks.read(self.body)
        return bool(said) and all(not remark.codes.isdisjoint(ignored) for remark in said or ())


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that we trust, for all EHRs of a run: they take longer to load than a page."""
    return httpx.create_ssl_context()


class TokenBucket:
    """Lets `rate` requests a second through, in bursts of up to one second's worth."""

    def __init__(self, rate: float, politeness: Politeness) -> None:
        self._rate = rate
        self._size = max(1.0, rate)
        self._tokens = self._size
        self._politeness = politeness
        self._filled = politeness.clock()

    async def take(self) -> None:
        """Wait until one more request may be sent."""
        now = self._politeness.clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        self._tokens -= 1  # may go below zero: waiting requests count too, so that none overtakes another
        if self._tokens < 0:
            await self._politeness.sleep(-self._tokens / self._rate)


class CircuitBreaker:
    """Opens after several failures in a row; then a request now and then tries whether the EHR is back."""

    def __init__(self, politeness: Politeness) -> None:
        self._politeness = politeness
        self._failures = 0
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        return self._failures >= self._politeness.failures_to_open and (
            self._politeness.clock() < self._open_until
        )

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        self._open_until = self._politeness.clock() + self._politeness.open_for


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
        self._politeness = politeness or Politeness()
        self._bucket = TokenBucket(ehr.requests_per_second, self._politeness)
        self._breaker = CircuitBreaker(self._politeness)
        self._authorization = _authorization(ehr)
        self._vendor_headers = vendors.load(ehr.vendor).headers if ehr.vendor else {}
        self._http = httpx.AsyncClient(
            # Requests only ever go to `base`, so we load certificates only if it needs them.
            verify=self.base.startswith("https:") and _trusted(),
            timeout=ehr.timeout,
            transport=transport,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=self._politeness.connections),
            headers={
                "Accept": "application/fhir+json",
                "Cache-Control": "no-cache",
                "User-Agent": "fhir-coprod",
            },
        )

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
                    f"{self.ehr.name}: the server points to {_shown(target)}, which is not below "
                    f"{self.base}; nothing is asked there. If it is the same EHR, set its url so."
                )
            answer = await self._persistently(target, headers or {})
            if answer.status not in _REDIRECTS:
                return answer
            try:
                target = str(httpx.URL(target).join(answer.headers.get("Location", "")))
            except (httpx.InvalidURL, ValueError):
                raise EhrAnswer(
                    f"{self.ehr.name}: the server redirects {_shown(target)} to something that is no address."
                ) from None
        raise EhrAnswer(f"{self.ehr.name}: the server redirects in circles at {_shown(target)}.")

    @property
    def is_left_alone(self) -> bool:
        """Whether so many requests in a row have failed that the next ones fail at once."""
        return self._breaker.is_open

    async def json(self, url: str) -> tuple[Answer, Json]:
        """The answer to GET `url`, and its FHIR resource. Raises EhrAnswer unless it is 200 with one."""
        answer = await self.get(url)
        self.require_fhir(answer)
        return answer, jsontext.decode(answer.body)

    def require_fhir(self, answer: Answer) -> None:
        """Raise EhrAnswer, which says what to do, unless the answer is 200 and JSON with a resourceType."""
        name = self.ehr.name
        if answer.status in (401, 403):
            raise EhrAnswer(
                f"{name}: the server refuses us ({answer.status}); check `auth` and what it may see."
            )
        if answer.markup == "XML":
            raise EhrAnswer(
                f"{name}: the server answered XML at {_shown(answer.url)} ({answer.status}) although only "
                "JSON was asked for; its vendor has to turn JSON on, or url is that of another interface."
            )
        if answer.markup:
            raise EhrAnswer(
                f"{name}: the server answered HTML instead of FHIR JSON at {_shown(answer.url)} "
                f"({answer.status}); is url its FHIR base address?"
            )
        if answer.status != 200:
            codes = ", ".join(sorted(answer.codes()))
            raise EhrAnswer(
                f"{name}: the server answered {answer.status} at {_shown(answer.url)}"
                + (f" ({codes})." if codes else ".")
            )
        try:
            data = jsontext.decode(answer.body)
        except NotJson as error:
            raise EhrAnswer(f"{name}: {_shown(answer.url)}: {error.message}") from None
        if not isinstance(data, dict) or "resourceType" not in data:
            raise EhrAnswer(
                f"{name}: the server answered JSON that is no FHIR resource at {_shown(answer.url)}."
            )

    async def _persistently(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Send one request, and retry it as long as that can help."""
        if self._breaker.is_open:
            raise EhrUnreachable(
                f"{self.ehr.name}: several requests in a row failed; left alone for a while."
            )
        polite = self._politeness
        reason = ""
        for attempt in range(polite.attempts):
            await self._bucket.take()
            pause = min(polite.longest_pause, polite.first_pause * 2**attempt)
            pause *= polite.dice.uniform(0.5, 1.0)
            try:
                async with asyncio.timeout(self.ehr.timeout):
                    answer = await self._once(url, headers)
            except TimeoutError:
                reason = f"no whole answer within {self.ehr.timeout:g} seconds"
            except httpx.RequestError as error:
                reason = _reason(error)
            except httpx.InvalidURL:
                raise EhrAnswer(f"{self.ehr.name}: {_shown(url)} is not an address.") from None
            else:
                if answer.status not in _RETRIED:
                    self._breaker.succeeded()
                    return answer
                reason = f"it answers {answer.status}"
                asked = _retry_after(answer.headers.get("Retry-After"))
                if asked is not None and asked > polite.longest_retry_after:
                    self._breaker.failed()
                    when = f"in {asked:.0f} seconds" if asked < _YEAR else "in more than a year"
                    raise EhrError(f"{self.ehr.name}: the server asks to come back {when}.")
                if answer.status == _TOO_MANY:
                    reason = "it answers 429, too many requests; lower requests_per_second"
                pause = max(pause, asked or 0.0)
                if attempt == polite.attempts - 1 and answer.status == 500:
                    self._breaker.failed()
                    return answer  # still an answer: the caller may know another way
            if attempt < polite.attempts - 1:
                await polite.sleep(pause)
        self._breaker.failed()
        raise EhrUnreachable(
            f"{self.ehr.name}: no answer from {_shown(url)} after {polite.attempts} attempts: {reason}. "
            "Check url, network and whether the server is up."
        )

    async def _once(self, url: str, headers: Mapping[str, str]) -> Answer:
        """One request; if it is refused and the secret has been renewed meanwhile, once more with that."""
        used = self._authorization
        answer = await self._sent(url, headers)
        if answer.status != 401 or not used:
            return answer
        if self._authorization == used:
            with suppress(ConfigError):  # the secret is gone; then the refusal says enough
                self._authorization = _authorization(self.ehr)
        return answer if self._authorization == used else await self._sent(url, headers)

    async def _sent(self, url: str, headers: Mapping[str, str]) -> Answer:
        sent = {**self._vendor_headers, **headers, **self._authorization}
        async with self._http.stream("GET", url, headers=sent) as response:
            if response.headers.get("Content-Encoding", "gzip").strip().lower() not in _CODINGS:
                # One coding is unpacked bit by bit; with several, the inner one could have any size.
                raise EhrAnswer(
                    f"{self.ehr.name}: an answer packed otherwise than by gzip, which was asked for, at "
                    f"{_shown(url)}."
                )
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER:
                    raise EhrAnswer(
                        f"{self.ehr.name}: an answer of more than {MAX_ANSWER // 1_000_000} MB at "
                        f"{_shown(url)}; the server does not page."
                    )
            return Answer(
                url, response.status_code, response.headers, _utf8(bytes(body), response.charset_encoding)
            )


_XML = re.compile(rb"\s*<(?:\?xml|[A-Za-z:]*\s[^>]*xmlns(?::\w+)?\s*=\s*[\"']http://hl7\.org/fhir[\"'])")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def _utf8(body: bytes, said: str | None) -> bytes:
    """`body` as FHIR wants it, UTF-8 without a byte order mark, if it can be told what it is written in.

    said: the charset in Content-Type. Servers add one without knowing, so it only counts for a body that is
    not UTF-8.
    """
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return _encoded(body[len(mark) :], encoding)
    if said is None or body.isascii():
        return body
    try:
        body.decode()
    except UnicodeDecodeError:
        return _encoded(body, said)
    return body


def _encoded(body: bytes, encoding: str) -> bytes:
    try:
        return body if encoding == "utf-8" else body.decode(encoding).encode()
    except (UnicodeError, LookupError):
        return body


def _authorization(ehr: EhrSettings) -> dict[str, str]:
    """The Authorization header; the secret is read once, from the file or variable named in the settings."""
    auth = ehr.auth
    if isinstance(auth, BasicAuth):
        secret = _secret(ehr.name, auth.password_file, auth.password_env, "password")
        token = base64.b64encode(f"{auth.user}:{secret}".encode()).decode()
        return {"Authorization": f"Basic {token}"}
    if isinstance(auth, BearerAuth):
        return {"Authorization": f"Bearer {_secret(ehr.name, auth.token_file, auth.token_env, 'token')}"}
    return {}


def _secret(ehr: str, file: Path | None, variable: str, what: str) -> str:
    if file is not None:
        try:
            secret, where = file.read_text().strip(), f"the {what} file {file}"
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"ehr {ehr}: the {what} file {file} cannot be read.") from None
    elif variable:
        if variable not in os.environ:
            raise ConfigError(
                f"ehr {ehr}: the environment variable {variable} that holds the {what} is not set."
            )
        secret, where = os.environ[variable].strip(), f"the environment variable {variable}"
    else:
        raise ConfigError(f"ehr {ehr}: auth needs {what}_file or {what}_env.")
    if not secret or not (secret.isascii() and secret.isprintable()):
        # Anything else would appear in the error of the library that puts it into a header.
        raise ConfigError(f"ehr {ehr}: {where} must hold the {what} as one line of printable ASCII.")
    return secret


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def _shown(url: str) -> str:
    """An address for messages, without its query, which may name a person, and without credentials."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "TLS fails"),
    (socket.gaierror, "the name of its host is not known"),
    (ConnectionRefusedError, "the connection is refused"),
    (httpx.TimeoutException, "it took too long"),
    (httpx.DecodingError, "its answer cannot be unpacked"),
    (httpx.LocalProtocolError, "the request cannot be sent as HTTP"),
    (httpx.RemoteProtocolError, "it breaks off, or does not speak HTTP"),
)


def _reason(error: httpx.RequestError) -> str:
    """Why there is no answer, told from the kind of error, not its text, which may quote what we sent."""
    chain: list[BaseException] = [error]
    for one in chain:
        following = [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            following += one.exceptions
        chain += [other for other in following if other is not None and other not in chain]
    for kind, words in _CAUSES:
        if any(isinstance(one, kind) for one in chain):
            return words
    return type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """The seconds in Retry-After, which may be seconds or a date; None if it is absent or unreadable."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdecimal():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None

"""Sends requests to one host: rate limit, retries, circuit breaker, and answers of bounded size.

A request waits for the host's token bucket. It is retried only if that can help (no answer, or 408, 425, 429,
500, 502, 503 or 504), after the time in `Retry-After` or `RateLimit`, or an exponentially growing pause with
jitter. If several requests in a row have failed for good, the circuit breaker makes the next ones fail at
once for a while.
"""

from __future__ import annotations

import asyncio
import codecs
import random
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable, plain
from fhir_coprod.sync.ehr import remarks

MAX_ANSWER = 200_000_000
"""The most bytes in one answer; a server that sends more does not page as asked."""

_RETRIED = frozenset((408, 425, 429, 500, 502, 503, 504))
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
    wall_clock: Callable[[], float] = time.time
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


class Sender:
    """Sends requests to one host, and retries them as long as that can help.

    name:    of the EHR, for messages
    timeout: seconds to wait for one whole answer
    bucket:  the rate limit, shared by all who send to the same EHR
    """

    def __init__(
        self, name: str, timeout: float, politeness: Politeness, bucket: TokenBucket, http: httpx.AsyncClient
    ) -> None:
        self._name = name
        self._timeout = timeout
        self._politeness = politeness
        self._bucket = bucket
        self._breaker = CircuitBreaker(politeness)
        self._http = http

    @property
    def is_left_alone(self) -> bool:
        """Whether so many requests in a row have failed that the next ones fail at once."""
        return self._breaker.is_open

    async def answer(self, request: Callable[[], httpx.Request]) -> Answer:
        """The answer to a request, with any status that a retry does not change.

        request: makes it anew for each attempt, since what signs a request may be used once only

        Raises EhrUnreachable if there is no answer even after retries, EhrAnswer if the answer has more than
        `MAX_ANSWER` bytes, EhrError if the server asks us to wait too long.
        """
        if self._breaker.is_open:
            raise EhrUnreachable(f"{self._name}: several requests in a row failed; left alone for a while.")
        polite = self._politeness
        reason = where = ""
        for attempt in range(polite.attempts):
            await self._bucket.take()
            pause = min(polite.longest_pause, polite.first_pause * 2**attempt)
            pause *= polite.dice.uniform(0.5, 1.0)
            try:
                made = request()
            except httpx.InvalidURL:
                raise EhrAnswer(f"{self._name}: what should be asked is not an address; see url.") from None
            where = shown(str(made.url))
            try:
                async with asyncio.timeout(self._timeout):
                    answer = await self._sent(made)
            except TimeoutError:
                reason = f"no whole answer within {self._timeout:g} seconds"
            except (httpx.RequestError, OSError) as error:  # TLS that fails late is no error of httpx
                reason = why(error, by_tls=where.startswith("https:"))
            else:
                if answer.status not in _RETRIED:
                    self._breaker.succeeded()
                    return answer
                reason, pause = self._patience(answer, pause)
                if attempt == polite.attempts - 1 and answer.status == 500:
                    self._breaker.failed()
                    return answer  # still an answer: the caller may know another way
            if attempt < polite.attempts - 1:
                await polite.sleep(pause)
        self._breaker.failed()
        tried = "" if polite.attempts == 1 else f" after {polite.attempts} attempts"
        raise EhrUnreachable(
            f"{self._name}: no answer from {where}{tried}: {reason}. "
            "Check url, network and whether the server is up."
        )

    async def once(self, request: httpx.Request) -> Answer:
        """The answer to a request that is sent once, with any status: to ask twice for something that takes
        long would begin it twice. Raises EhrUnreachable if there is none, EhrAnswer if it is too large."""
        await self._bucket.take()
        try:
            async with asyncio.timeout(self._timeout):
                return await self._sent(request)
        except TimeoutError:
            reason = f"no whole answer within {self._timeout:g} seconds"
        except (httpx.RequestError, OSError) as error:
            reason = why(error, by_tls=request.url.scheme == "https")
        raise EhrUnreachable(f"{self._name}: no answer from {shown(str(request.url))}: {reason}.")

    async def stream(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request that is sent once, its body still to be read. Raises EhrUnreachable if
        there is none, EhrAnswer if its body could have any size when it is unpacked."""
        await self._bucket.take()
        try:
            response = await self._http.send(request, stream=True)
        except (httpx.RequestError, OSError) as error:
            reason = why(error, by_tls=request.url.scheme == "https")
        else:
            try:
                self._require_known_packing(response)
            except EhrAnswer:
                await response.aclose()
                raise
            return response
        raise EhrUnreachable(f"{self._name}: no answer from {shown(str(request.url))}: {reason}.")

    def _patience(self, answer: Answer, pause: float) -> tuple[str, float]:
        """Why a request is retried, and after how many seconds."""
        asked = retry_after(answer.headers.get("Retry-After"))
        if asked is None and answer.status == _TOO_MANY:
            asked = _limited_for(answer.headers.get("RateLimit", ""))
        if asked is not None and asked > self._politeness.longest_retry_after:
            self._breaker.failed()
            when = f"in {asked:.0f} seconds" if asked < _YEAR else "in more than a year"
            raise EhrError(f"{self._name}: the server asks to come back {when}.")
        reason = f"it answers {answer.status}"
        if answer.status == _TOO_MANY:
            reason = "it answers 429, too many requests; lower requests_per_second"
        return reason, max(pause, asked or 0.0)

    def _require_known_packing(self, response: httpx.Response) -> None:
        """One coding is unpacked bit by bit; with several, the inner one could have any size."""
        if response.headers.get("Content-Encoding", "gzip").strip().lower() not in _CODINGS:
            raise EhrAnswer(
                f"{self._name}: an answer packed otherwise than by gzip, which was asked for, at "
                f"{shown(str(response.url))}."
            )

    async def _sent(self, request: httpx.Request) -> Answer:
        url = str(request.url)
        response = await self._http.send(request, stream=True)
        try:
            self._require_known_packing(response)
            body = bytearray()
            async for part in response.aiter_bytes():
                body += part
                if len(body) > MAX_ANSWER:
                    raise EhrAnswer(
                        f"{self._name}: an answer of more than {MAX_ANSWER // 1_000_000} MB at {shown(url)}; "
                        "the server does not page."
                    )
            return Answer(
                url, response.status_code, response.headers, _utf8(bytes(body), response.charset_encoding)
            )
        finally:
            await response.aclose()


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


def shown(url: str) -> str:
    """An address for messages, without its query, which may name a person, and without credentials."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return plain(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"[:_LONGEST_SHOWN])


_LONGEST_SHOWN = 200


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


def why(error: Exception, *, by_tls: bool = False) -> str:
    """Why there is no answer, told from the kind of error, not its text, which may quote what we sent."""
    chain: list[BaseException] = [error]
    for one in chain:
        following = [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            following += one.exceptions
        chain += [other for other in following if other is not None and other not in chain]
    # Those that only say that bytes are still to come stand in the context of others.
    chain = [one for one in chain if not isinstance(one, ssl.SSLWantReadError | ssl.SSLWantWriteError)]
    if any(isinstance(one, ssl.SSLError) and getattr(one, "reason", "") in _OURS_REFUSED for one in chain):
        return "it asks for a certificate of ours, or refuses the one that it got (tls.certificate_file)"
    for kind, words in _CAUSES:
        if any(isinstance(one, kind) for one in chain):
            return words
    if any(isinstance(one, BrokenPipeError | ConnectionResetError) for one in chain):
        # A server may be gone before what it said about our certificate is read.
        own = ", as a server does that asks for a certificate of ours (tls.certificate_file)"
        return f"it breaks off{own if by_tls else ''}"
    return type(error).__name__


_OURS_REFUSED = frozenset(
    f"{version}_ALERT_{what}"
    for version in ("SSLV3", "TLSV1", "TLSV13")
    for what in (
        "CERTIFICATE_REQUIRED",
        "BAD_CERTIFICATE",
        "CERTIFICATE_EXPIRED",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_UNKNOWN",
        "UNSUPPORTED_CERTIFICATE",
        "UNKNOWN_CA",
        "HANDSHAKE_FAILURE",
        "ACCESS_DENIED",
    )
)
"""What a server says that is not content with who we are; reasons as OpenSSL names them."""


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*+"?')
_MEMBER = re.compile(rf'(?:{_QUOTED.pattern}|[^",])++')
"""Both take each character once, also of a quote without end."""
_PARAMETER = re.compile(r";\s*([rt])=([0-9]{1,9})(?=\s*(?:;|$))")


def _limited_for(value: str) -> float | None:
    """The seconds until the limits of RateLimit that are used up are over; None if it does not say.

    As in draft-ietf-httpapi-ratelimit-headers: "requests";r=0;t=42, "others";r=17;t=60
    """
    limits = [dict(_PARAMETER.findall(_QUOTED.sub("", one))) for one in _MEMBER.findall(value)]
    used_up = [float(limit["t"]) for limit in limits if "t" in limit and int(limit.get("r", 1)) == 0]
    return max(used_up, default=None)


def retry_after(value: str | None) -> float | None:
    """The seconds in Retry-After, which may be seconds or a date; None if it is absent or unreadable."""
    if not value:
        return None
    if _SECONDS.fullmatch(value.strip()):
        return float(value)
    try:
        then = parsedate_to_datetime(value)
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    except (ValueError, OverflowError):
        return None


_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
"""Some servers write parts of seconds."""

"""Signed words of others (JWT, RFC 7519): read strictly, believed only by a key and algorithm that we chose.

What has broken other servers is not looked at, or refused: `alg: none`, an algorithm of the sender's choice
(RFC 8725, 3.1), keys that come along (`jwk`, `x5c`, `x5u`), headers that change what is signed (`crit`,
`b64`), members given twice, and numbers that are none.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from fhir_coprod.errors import NotSignedIn

AnyKey = RSAKey | ECKey | OKPKey
LONGEST: Final = 16_000
"""Characters of a token that is read."""
LEEWAY: Final = 10.0
"""Seconds by which clocks may differ."""
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_BRINGS_ITS_KEY = ("jwk", "x5c", "x5u", "crit", "b64", "enc", "zip")
_LATEST: Final = 2.0**45


class Untrusted(NotSignedIn):
    """A token that does not hold. The caller learns no more than that; `reason` is for the log.

    kind: the error of OAuth
    """

    def __init__(self, reason: str, kind: str = "invalid_token") -> None:
        super().__init__("The token does not hold, or not any more; get a new one.")
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Word:
    """A JWT that nobody has believed yet."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def claim(self, name: str) -> str:
        """A claim that is text; "" if it is none."""
        found = self.claims.get(name)
        return found if isinstance(found, str) else ""

    @property
    def kid(self) -> str:
        found = self.header.get("kid")
        return found if isinstance(found, str) else ""


def read(text: str, longest: int = LONGEST) -> Word:
    """Take a JWT apart, without believing it. Raises Untrusted.

    longest: characters of it that are read
    """
    form = _FORM.fullmatch(text) if len(text) <= longest else None
    if form is None:
        raise Untrusted("it is no JWT with a signature, or too long")
    word = Word(text, _object(form[1]), _object(form[2]))
    for name in _BRINGS_ITS_KEY:
        if name in word.header:
            raise Untrusted(f"its header has {name}, which is not taken")
    return word


def _object(part: str) -> Mapping[str, Any]:
    try:
        found = strict_json(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        raise Untrusted("a part of it is not one JSON object, or has a member twice") from None
    if not isinstance(found, dict):
        raise Untrusted("a part of it is no JSON object")
    return found


def strict_json(text: bytes) -> Any:
    """A JSON value in which no object has a member twice: others would read another one of the two.

    Raises ValueError.
    """

    def whole(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a member is there twice")
        return found

    def none(_: str) -> Any:
        raise ValueError("no number of JSON")

    try:
        return json.loads(text.decode(), object_pairs_hook=whole, parse_constant=none)
    except RecursionError:
        raise ValueError("too deep") from None


def believe(word: Word, key: AnyKey, algorithm: str) -> None:
    """Raises Untrusted unless this key has signed the word by this algorithm."""
    if word.header.get("alg") != algorithm:
        raise Untrusted(f"it is not signed by {algorithm}, which its key is for")
    try:
        jws.deserialize_compact(word.text, key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError):
        raise Untrusted("its signature is not by that key") from None


def check_times(word: Word, now: float, longest: float | None = None) -> float:
    """When the word ends. Raises Untrusted if it has, has not begun, or does not say.

    now:     seconds since 1970
    longest: how many seconds its end may be ahead
    """
    end = time_of(word.claims, "exp")
    if end is None:
        raise Untrusted("it has no end (exp)")
    if end <= now - LEEWAY:
        raise Untrusted("it has ended (exp)")
    if longest is not None and end > now + longest + LEEWAY:
        raise Untrusted(f"its end (exp) is more than {longest:g} seconds ahead")
    for name in ("nbf", "iat"):
        begin = time_of(word.claims, name)
        if begin is not None and begin > now + LEEWAY:
            raise Untrusted(f"it is of a time that has not come ({name}); do the clocks differ?")
    return end


def time_of(claims: Mapping[str, Any], name: str) -> float | None:
    """A time in a claim, in seconds since 1970; None if there is no such claim. Raises Untrusted."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    try:
        seconds = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < _LATEST:
        raise Untrusted(f"its {name} is no time")
    return seconds


def audiences(word: Word) -> Sequence[str]:
    """Whom it is for; empty if it does not say so as text or a list of texts."""
    said = word.claims.get("aud")
    if isinstance(said, str):
        return (said,)
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return tuple(said)
    return ()


def inside(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, or by names with dots between that go inside; None if there is none."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found

"""Signing in and out: from a request to the visitor behind it, and the pages on the way.

A form of ours never leads to the provider: browsers would check `form-action` of our Content-Security-Policy
along the whole way, and that names only ourselves. So whoever has to sign in follows a link.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fhir_coprod import jsontext
from fhir_coprod.access import glass, grants, id_token, proxies, roles, sessions
from fhir_coprod.access.id_token import Claims
from fhir_coprod.access.provider import Attempt, Provider
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.roles import Acting
from fhir_coprod.access.sessions import Person, Session
from fhir_coprod.access_settings import SignInSettings
from fhir_coprod.addresses import is_loopback, is_near
from fhir_coprod.errors import BadRequest, CoprodError, NotAllowed, NotJson, NotSignedIn
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.web.answering import elsewhere, form_of, rendered, sorry
from fhir_coprod.web.visitor import ANYBODY, NOTHING, Visitor

ANSWER: Final = "/sign-in/answer"
"""Where the provider sends people back to: registered there, letter for letter."""
ENDED: Final = "/signed-out"
"""Where it sends them after they have signed out there, too."""
_TEN_MINUTES: Final = 600
"""Seconds in which a sign-in has to be done that has begun."""
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LONGEST: Final = 1000
"""Characters of a path to come back to."""


Entrance = Callable[[str, int, str, Rights], Awaitable[None]]
"""Remembers what happened at the door: sign-in or sign-out, the status of the answer, the address of the
connection, and who it was."""


async def nobody_minds(what: str, status: int, address: str, rights: Rights) -> None:
    """Remembers nothing."""


class WithoutRole(NotAllowed):
    """Somebody signed in who has no role here."""

    def __init__(self, session: Session) -> None:
        super().__init__("You are signed in, and nobody has given you a role here yet.")
        self.session = session


class Door:
    """Knows who asks for a page, and lets people sign in where the settings say how."""

    def __init__(self, store: Store, settings: Settings, entrance: Entrance = nobody_minds) -> None:
        self._store = store
        self._entrance = entrance
        self._settings = settings
        self._sign_in = settings.access.sign_in
        if self._sign_in is None:
            return
        roles.check(settings)
        base = urlsplit(settings.site.base_url)
        self._home = f"{base.scheme}://{base.netloc}"
        secure = base.scheme == "https"
        # Browsers keep a cookie of this name only with Secure, for all paths, and from this host alone.
        self._cookie = "__Host-coprod" if secure else "coprod"
        self._flags = f"; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}"
        self._provider = Provider(self._sign_in, self._home + ANSWER)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self._sign_in is None

    # ------------------------------------------------------------------------------------ who asks

    async def visitor(self, request: Request) -> Visitor:
        """The visitor behind a request.

        Raises NotSignedIn, WithoutRole, or NotAllowed where nobody can sign in and the request is not from
        this machine.
        """
        if self._sign_in is None:
            if request.client is None or not is_near(request.client.host):
                raise NotAllowed(
                    "Nobody can sign in here yet, so pages are shown on this machine only; "
                    "set access.sign_in to let people in."
                )
            return ANYBODY
        return await run_in_threadpool(self._known, self._sign_in, self._id(request), datetime.now(UTC))

    def _known(self, sign_in: SignInSettings, id: str, now: datetime) -> Visitor:
        with self._store.connect() as connection:
            session = sessions.find(connection, sign_in, id, now)
            if session is None:
                raise NotSignedIn("Sign in to see this page.")
            given = grants.of(connection, session.person.name, now)
        sessions.touch(self._store, sign_in, session, now)
        access = self._settings.access
        ways = roles.ways(access, session.person, given)
        if not ways:
            raise WithoutRole(session)
        way = next((each for each in ways if each.key == session.acting), ways[0])
        rights = self._rights(session, way, now)
        return Visitor(rights, session, token_of(id), self._named(ways))

    def _rights(self, session: Session, way: Acting, now: datetime) -> Rights:
        """What somebody may do who acts in this way; as a proxy or through a glass, as it is now."""
        role, _, related = way.key.partition(":")
        if role == roles.PROXY and related:
            patient = proxies.patient_of(self._store, related)
            found = proxies.proxy_rights(
                self._store, self._settings, related, patient, now, session.person.name
            )
            if not found.scopes:
                raise WithoutRole(session)
            return replace(found, session=session.label)
        rights = roles.rights(self._settings.access, session, way)
        with self._store.connect() as connection:
            return glass.with_glass(connection, rights, session, now)

    def _named(self, ways: Iterable[Acting]) -> list[tuple[Acting, str]]:
        """Each way to act, in words for its person."""
        ids = {name.partition("/")[2] for way in ways for name in way.departments if name != "*"}
        found = self._store.newest("Organization", sorted(ids))
        names = {
            f"Organization/{id}": str(version.data.get("name") or id)
            for id, version in found.items()
            if not version.deleted
        }
        return [(way, _words(way, names)) for way in ways]

    def _id(self, request: Request) -> str:
        return request.cookies.get(self._cookie, "")

    # ------------------------------------------------------------------------------------ routes

    def routes(self) -> list[Route]:
        if self.is_open:
            return []
        return [
            Route("/sign-in", self._begin),
            Route(ANSWER, self._answer),
            Route("/sign-out", self._out, methods=["GET", "POST"]),
            Route(ENDED, self._ended),
            Route("/acting", self._act_as, methods=["POST"]),
        ]

    def first(self, to: str) -> Response:
        """The way to sign in for a person who opens a page of ours."""
        if self._sign_in and self._sign_in.straight:
            return elsewhere(f"/sign-in?to={quote(own_path(to))}")
        return self.sign_in_page(to, message="Sign in to see this page.")

    def sign_in_page(
        self, to: str, *, message: str, kept: dict[str, str] | None = None, again: bool = False
    ) -> Response:
        """The page with a link to sign in.

        kept:  what was typed, to be copied
        again: the person has to prove anew who they are
        """
        to = quote(own_path(to))
        return rendered("sign_in.html", 401, to=to, message=message, kept=kept or {}, again=again)

    def again_page(self, message: str, back: str) -> Response:
        """The page with a link to prove anew who one is."""
        return rendered("sign_in.html", 403, to=quote(own_path(back)), message=message, kept={}, again=True)

    def without_role(self, request: Request, session: Session) -> Response:
        visitor = Visitor(NOTHING, session, token_of(self._id(request)))
        ask = self._sign_in.ask if self._sign_in else ""
        return rendered("no_role.html", 403, visitor=visitor, ask=ask, own=session.person.name)

    async def _begin(self, request: Request) -> Response:
        """Send the browser to the provider; what is needed to check the answer stays in a cookie of its own,
        so that nobody can fill the store by beginning again and again."""
        asked = request.query_params
        if _is_elsewhere_near(request, self._home):
            return elsewhere(f"{self._home}/sign-in?to={quote(own_path(asked.get('to', '/')))}")
        attempt = Attempt(
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            to=own_path(asked.get("to", "/")),
            again=asked.get("again") == "yes",
        )
        try:
            url = await self._provider.way_in(attempt)
        except CoprodError as error:
            return sorry(error)
        answer = elsewhere(url)
        self._set(answer, f"{self._cookie}-in", _packed(attempt), _TEN_MINUTES)
        return answer

    async def _answer(self, request: Request) -> Response:
        """The browser comes back from the provider."""
        assert self._sign_in is not None
        attempt = _unpacked(request.cookies.get(f"{self._cookie}-in", ""))
        answer: Response
        try:
            if attempt is None:
                raise NotSignedIn("This browser has begun no sign-in, or too long ago; begin again.")
            claims = await self._provider.who(attempt, dict(request.query_params))
            name, id = await run_in_threadpool(self._signed_in, self._sign_in, claims, self._id(request))
            await self._entrance("sign-in", 200, _address(request), _somebody(name, id))
        except NotSignedIn as error:
            to, again = (attempt.to, attempt.again) if attempt else ("/", False)
            answer = self.sign_in_page(to, message=error.message, again=again)
            answer = await self._refused(request, answer)
        except CoprodError as error:
            answer = sorry(error)
        else:
            answer = elsewhere(own_path(attempt.to))
            self._set(answer, self._cookie, id, None)
        self._set(answer, f"{self._cookie}-in", "", 0)
        return answer

    async def _refused(self, request: Request, answer: Response) -> Response:
        """The same answer, once the refusal is remembered."""
        try:
            await self._entrance("sign-in", answer.status_code, _address(request), _somebody("", ""))
        except CoprodError as error:
            return sorry(error)
        return answer

    def _signed_in(self, sign_in: SignInSettings, claims: Claims, before: str) -> tuple[str, str]:
        """Who has signed in, and what their cookie holds from now on."""
        now = datetime.now(UTC)
        patient = _patient(self._store, sign_in, claims)
        related = tuple(filter(_ID.fullmatch, roles.values(claims, sign_in.related_person_claim)))[:20]
        own = [id for id in roles.values(claims, sign_in.practitioner_claim) if _ID.fullmatch(id)]
        person = roles.person(sign_in, claims, patient, related, own[0] if len(own) == 1 else "")
        proven = id_token.time_of(claims, "auth_time")
        acr = claims.get("acr")
        id = sessions.begin(
            self._store,
            sign_in,
            person,
            now,
            proven=min(now, datetime.fromtimestamp(proven, UTC)) if 0 < proven < 2**40 else None,
            acr=acr if isinstance(acr, str) else "",
            instead_of=before,
            acting=self._acting_before(sign_in, person, before, now),
        )
        return person.name, id

    def _acting_before(self, sign_in: SignInSettings, person: Person, before: str, now: datetime) -> str:
        """Who signs in again goes on to act as before."""
        with self._store.connect() as connection:
            session = sessions.find(connection, sign_in, before, now)
        return session.acting if session and session.person.name == person.name else ""

    async def _out(self, request: Request) -> Response:
        """Sign out: here at once; then the page that comes leads to the provider, to sign out there."""
        if request.method == "GET":
            try:
                url = await self._provider.way_out(self._home + ENDED)
            except CoprodError:
                url = ""
            return rendered("signed_out.html", next=url)
        try:
            visitor = await self._anybody(request)
            if visitor is not None:
                await form_of(request, visitor)
                if visitor.session is not None:
                    await run_in_threadpool(glass.end, self._store, visitor.session, datetime.now(UTC))
                await run_in_threadpool(sessions.end, self._store, self._id(request))
                name = visitor.session.person.name if visitor.session else ""
                await self._entrance("sign-out", 200, _address(request), _somebody(name, self._id(request)))
        except CoprodError as error:
            return sorry(error)
        answer = elsewhere("/sign-out")
        self._set(answer, self._cookie, "", 0)
        return answer

    async def _anybody(self, request: Request) -> Visitor | None:
        """The person behind a request, also one without a role; None if nobody is signed in."""
        try:
            return await self.visitor(request)
        except WithoutRole as error:
            return Visitor(NOTHING, error.session, token_of(self._id(request)))
        except NotSignedIn:
            return None

    async def _ended(self, request: Request) -> Response:
        return rendered("signed_out.html", next="")

    async def _act_as(self, request: Request) -> Response:
        """Act in another of one's ways from now on."""
        try:
            visitor = await self.visitor(request)
            form = await form_of(request, visitor)
            chosen = form.get("way", "")
            if visitor.session is None or chosen not in {way.key for way, _ in visitor.ways}:
                raise BadRequest("You cannot act in that way; choose one of those on the page.")
            await run_in_threadpool(sessions.act_as, self._store, visitor.session, chosen)
        except NotSignedIn:
            return self.first("/")
        except CoprodError as error:
            return sorry(error)
        return elsewhere("/")

    def _set(self, answer: Response, name: str, value: str, seconds: int | None) -> None:
        """Set a cookie: for so many seconds, or until the browser is closed; 0 takes it back."""
        age = "" if seconds is None else f"; Max-Age={seconds}"
        answer.headers.append("set-cookie", f"{name}={value}{self._flags}{age}")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _somebody(name: str, id: str) -> Rights:
    """Who comes or goes, for what is remembered of it.

    id: what the cookie holds
    """
    return Rights("person", name, session=sessions.hash_of(id)[:16] if id else "")


def token_of(id: str) -> str:
    """What each form has to bring that is made for the sign-in with this cookie."""
    return hmac.digest(id.encode(), b"form", "sha256").hex()


def own_path(text: str) -> str:
    """The text, if it is a path of ours to come back to; else the board's."""
    is_ours = (
        text.startswith("/")
        and not text.startswith(("//", "/\\", "/sign-", "/acting"))
        and len(text) <= _LONGEST
        and text.isascii()
        and text.isprintable()
        and not set(text) & set('\\<>"')
    )
    return text if is_ours else "/"


def _is_elsewhere_near(request: Request, home: str) -> bool:
    """Whether the browser is on this machine under another name than the one to which the provider sends it
    back: cookies stay with a name. (Behind a proxy the Host may be any, and says nothing.)"""
    host = (request.headers.get("host") or "").lower()
    return is_loopback(home) and is_loopback(f"http://{host}") and host != urlsplit(home).netloc.lower()


def _packed(attempt: Attempt) -> str:
    until = datetime.now(UTC) + timedelta(seconds=_TEN_MINUTES)
    content = [attempt.state, attempt.nonce, attempt.verifier, attempt.to, attempt.again, until.timestamp()]
    return base64.urlsafe_b64encode(jsontext.encode(content)).decode().rstrip("=")


def _unpacked(cookie: str) -> Attempt | None:
    """None if it is none, or too old."""
    try:
        content = jsontext.decode(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
        state, nonce, verifier, to, again, until = content
    except (binascii.Error, NotJson, TypeError, ValueError):
        return None
    texts = (state, nonce, verifier, to)
    if not all(isinstance(each, str) and each for each in texts) or len(verifier) < 43:
        return None
    if not isinstance(until, int | float) or until < datetime.now(UTC).timestamp():
        return None
    return Attempt(state, nonce, verifier, to, again is True)


def _words(way: Acting, names: dict[str, str]) -> str:
    if not way.roles:
        return "for somebody else" if way.key.startswith(roles.PROXY) else "patient"
    where = ["all departments" if name == "*" else names.get(name, name) for name in way.departments]
    return f"{' and '.join(way.roles)}, {'; '.join(where)}"


def _patient(store: Store, sign_in: SignInSettings, claims: Claims) -> str:
    """The id of the Patient whom the claims name; "" unless it is exactly one."""
    said = roles.values(claims, sign_in.patient_claim)
    if len(said) != 1 or set(said[0]) & set("|,$\\"):
        return ""
    if not sign_in.patient_system:
        if not _ID.fullmatch(said[0]):
            return ""
        version = store.newest("Patient", said).get(said[0])
        return said[0] if version is not None and not version.deleted else ""
    query = Query.parse("Patient", [("identifier", f"{sign_in.patient_system}|{said[0]}"), ("_count", "2")])
    found = store.search(query).matches
    return found[0].id if len(found) == 1 else ""

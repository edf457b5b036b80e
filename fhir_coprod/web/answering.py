"""How pages are answered and forms are read, whatever page it is."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fhir_coprod.errors import BadRequest, CoprodError, NotAllowed, Overloaded, TooLarge
from fhir_coprod.web.letters import environment
from fhir_coprod.web.visitor import ANYBODY, Visitor

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""The pages name patients, so no cache may keep them, and no other site may frame them or learn where a link
came from. (With no-referrer, browsers would not say which page a form came from either.)"""
_LONGEST_FORM = 10_000
"""Bytes."""

AT_ONCE = 2
"""Pages that are worked on at once. A board reads every open referral, so twenty together would take twenty
times the memory, and none of them would be ready sooner."""
LINE = 60
"""Most pages that wait."""


class Turns:
    """Works pages out in threads, few at once, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def answer(self, visitor: Visitor, page: Callable[[], str], status: int = 200) -> Response:
        """The page, or a short one that says what is wrong."""
        try:
            return html(await self._worked_out(page), status)
        except CoprodError as error:
            return sorry(error, visitor)

    async def _worked_out(self, page: Callable[[], str]) -> str:
        if self._waiting >= LINE:
            raise Overloaded("Too many pages are asked for at once; try again in a few seconds.")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await run_in_threadpool(page)
        finally:
            self._turn.release()


def html(words: str, status: int = 200) -> Response:
    return HTMLResponse(words, status, headers=HEADERS)


def rendered(name: str, status: int = 200, **content: Any) -> Response:
    """A page that needs nothing from the store."""
    return html(environment().get_template(name).render(**content), status)


def sorry(error: CoprodError, visitor: Visitor = ANYBODY) -> Response:
    """A short page that says what is wrong."""
    return rendered("sorry.html", error.status, message=error.message, visitor=visitor)


def elsewhere(url: str) -> Response:
    """Go on there, by GET."""
    return RedirectResponse(url, status_code=303, headers=HEADERS)


async def form_of(request: Request, visitor: Visitor) -> dict[str, str]:
    """The fields of a form on our own pages. Raises NotAllowed if another site's page sent it, or if it was
    not made for the visitor who is signed in."""
    form = await typed(request)
    if visitor.session is not None:
        said = form.pop("token", "")
        if not hmac.compare_digest(said.encode(), visitor.token.encode()):
            raise NotAllowed(
                "This form is not of your present sign-in, so nothing was done; open the page again."
            )
    return form


async def typed(request: Request) -> dict[str, str]:
    """What a form on our own pages holds, whoever it was made for. Raises NotAllowed if another site's page
    sent it."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise NotAllowed("Another site's page sent this; nothing was done.")
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise NotAllowed("Another site's page sent this; nothing was done.")
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("Send a form (application/x-www-form-urlencoded).")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            raise TooLarge("That is too much text for this form.")
    try:
        return dict(parse_qsl(body.decode(), errors="strict", max_num_fields=20))
    except ValueError:
        raise BadRequest("The form cannot be read; send it again.") from None

"""The routes of the web pages, which the application in `fhir_coprod.api` mounts at /."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from fhir_coprod.errors import BadRequest, CoprodError, NotAllowed, Overloaded, TooLarge
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.web import people, referral
from fhir_coprod.web.letters import environment
from fhir_coprod.web.operations import operating
from fhir_coprod.web.survey import survey

_HEADERS = {
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

Act = Callable[[referral.Place, dict[str, str], datetime], None]


def routes(store: Store, settings: Settings) -> list[BaseRoute]:
    """The pages of this store."""
    templates = environment()
    answer = _Turns().answer

    async def board(request: Request) -> Response:
        department = request.query_params.get("department", "")
        page = templates.get_template("board.html")
        return await answer(
            lambda: page.render(board=survey(store, settings, datetime.now(UTC)), department=department)
        )

    async def quality(request: Request) -> Response:
        page = templates.get_template("quality.html")
        return await answer(lambda: page.render(faults=store.faults()))

    async def operations(request: Request) -> Response:
        page = templates.get_template("operations.html")
        return await answer(lambda: page.render(page=operating(store, settings, datetime.now(UTC))))

    def here(request: Request) -> referral.Place:
        return referral.place(store, settings, request.path_params["kind"], request.path_params["id"])

    async def show(request: Request) -> Response:
        return await answer(lambda: referral.referral_page(here(request), datetime.now(UTC)))

    async def letter(request: Request) -> Response:
        about = request.query_params.get("about", "")
        language = request.query_params.get("language", "")
        if request.method == "POST":
            return await act(request, referral.send)
        return await answer(lambda: referral.letter_page(here(request), datetime.now(UTC), about, language))

    async def act(request: Request, what: Act) -> Response:
        """Do what a form asks for, then show the referral; or say on its page what is wrong."""
        now = datetime.now(UTC)
        try:
            form = await _form(request)
            at = here(request)
            await run_in_threadpool(what, at, form, now)
        except CoprodError as error:
            said = error
            return await answer(lambda: referral.referral_page(here(request), now, said.message), said.status)
        return RedirectResponse(at.path, status_code=303, headers=_HEADERS)

    async def acknowledge(request: Request) -> Response:
        return await act(request, referral.acknowledge)

    async def snooze(request: Request) -> Response:
        return await act(request, referral.snooze)

    async def doubtful(request: Request) -> Response:
        if request.method == "GET":
            return await answer(lambda: people.page(store))
        try:
            _only_on_this_machine(request)
            form = await _form(request)
            await run_in_threadpool(people.decide, store, settings, form)
        except CoprodError as error:
            said = error
            return await answer(lambda: people.page(store, said.message), said.status)
        return RedirectResponse("/people", status_code=303, headers=_HEADERS)

    path = "/referral/{kind}/{id}"
    return [
        Route("/", board),
        Route("/people", doubtful, methods=["GET", "POST"]),
        Route("/quality", quality),
        Route("/operations", operations),
        Route(path, show),
        Route(f"{path}/letter", letter, methods=["GET", "POST"]),
        Route(f"{path}/acknowledge", acknowledge, methods=["POST"]),
        Route(f"{path}/snooze", snooze, methods=["POST"]),
        _stylesheet("board.css"),
        _stylesheet("letter.css"),
    ]


def _stylesheet(name: str) -> Route:
    content = resources.files("fhir_coprod.web").joinpath("static", name).read_bytes()

    async def style(_: Request) -> Response:
        return Response(content, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return Route(f"/static/{name}", style)


class _Turns:
    """Works pages out in threads, few at once, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def answer(self, page: Callable[[], str], status: int = 200) -> Response:
        """The page, or a short one that says what is wrong."""
        try:
            return HTMLResponse(await self._worked_out(page), status, headers=_HEADERS)
        except CoprodError as error:
            words = environment().get_template("sorry.html").render(message=error.message)
            return HTMLResponse(words, error.status, headers=_HEADERS)

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


def _only_on_this_machine(request: Request) -> None:
    """Raise NotAllowed unless the caller sits at this machine: until there is sign-in, a name from
    elsewhere could be anybody's."""
    host = request.client.host if request.client is not None else ""
    try:
        is_here = ip_address(host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise NotAllowed(
            "Patients are joined and parted only on the machine where this runs: "
            "`fhir-coprod people same`, or this page there."
        )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form on our own pages. Raises NotAllowed if another site's page sent it."""
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

"""The routes of the web pages, which the application in `fhir_coprod.api` mounts at /."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib import resources

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from fhir_coprod.access.rights import Rights
from fhir_coprod.errors import CoprodError, NotSignedIn
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.web import glass, mine, people, referral
from fhir_coprod.web.answering import Turns, elsewhere, form_of, sorry, typed
from fhir_coprod.web.door import Door, Entrance, WithoutRole, nobody_minds
from fhir_coprod.web.letters import environment
from fhir_coprod.web.operations import operating, wrong_in_records
from fhir_coprod.web.survey import found, survey
from fhir_coprod.web.visitor import SignInAgain, Visitor

Act = Callable[[referral.Place, dict[str, str], datetime], None]
Handler = Callable[[Request, Visitor], Awaitable[Response]]
Look = Callable[[str, str, Rights], Awaitable[None]]
"""Path of a page, address of the connection, and what who asks may do."""
_REFERRAL = "/referral/{kind}/{id}"


async def unremembered(path: str, address: str, rights: Rights) -> None:
    """Remembers nothing."""


def routes(
    store: Store, settings: Settings, look: Look = unremembered, entrance: Entrance = nobody_minds
) -> list[BaseRoute]:
    """The pages of this store.

    look:     remembers who looks at a page, before it is worked out
    entrance: remembers who signs in and out
    """
    return _Pages(store, settings, look, entrance).routes()


class _Pages:
    """The pages of one application."""

    def __init__(self, store: Store, settings: Settings, look: Look, entrance: Entrance) -> None:
        self._look = look
        self._store = store
        self._settings = settings
        self._door = Door(store, settings, entrance)
        self._answer = Turns().answer

    def routes(self) -> list[BaseRoute]:
        return [
            *self._door.routes(),
            self._route("/", self._board),
            self._route("/find", self._find, "POST"),
            self._route("/people", self._doubtful, "GET", "POST"),
            self._route(glass.PATH, self._glass, "GET", "POST"),
            self._route("/quality", self._quality),
            self._route("/operations", self._operations),
            self._route(_REFERRAL, self._show),
            self._route(f"{_REFERRAL}/letter", self._letter, "GET", "POST"),
            self._route(f"{_REFERRAL}/acknowledge", self._acting(referral.acknowledge), "POST"),
            self._route(f"{_REFERRAL}/snooze", self._acting(referral.snooze), "POST"),
            _stylesheet("board.css"),
            _stylesheet("letter.css"),
        ]

    def _route(self, path: str, handler: Handler, *methods: str) -> Route:
        """A route whose handler knows who asks; whoever has to sign in first is told so instead."""

        async def respond(request: Request) -> Response:
            address = request.client.host if request.client else ""
            try:
                visitor = await self._door.visitor(request)
                await self._look(request.url.path, address, visitor.rights)
            except NotSignedIn as error:
                return await self._first_sign_in(request, error)
            except WithoutRole as error:
                return self._door.without_role(request, error.session)
            except CoprodError as error:
                return sorry(error)
            return await handler(request, visitor)

        return Route(path, respond, methods=methods or ("GET",))

    async def _first_sign_in(self, request: Request, error: NotSignedIn) -> Response:
        """The page with a link to sign in, and to come back from there; what was typed is shown once more."""
        path = request.url.path
        if request.method != "POST":
            query = f"?{request.url.query}" if request.url.query else ""
            return self._door.first(f"{path}{query}")
        try:
            form = await typed(request)
        except CoprodError as wrong:
            return sorry(wrong)
        kept = {name: form[name] for name in ("note", "until") if form.get(name)}
        back = path.rpartition("/")[0] if path.startswith("/referral/") else path.replace("/find", "/")
        return self._door.sign_in_page(back, message=error.message, kept=kept)

    # ------------------------------------------------------------------------------------------- pages

    async def _board(self, request: Request, visitor: Visitor) -> Response:
        department = request.query_params.get("department", "")
        now = datetime.now(UTC)
        if visitor.is_patient:
            return await self._answer(visitor, lambda: mine.page(self._store, self._settings, visitor, now))
        page = environment().get_template("board.html")
        return await self._answer(
            visitor,
            lambda: page.render(
                board=survey(self._store, self._settings, now, visitor),
                department=department,
                visitor=visitor,
                who="",
            ),
        )

    async def _find(self, request: Request, visitor: Visitor) -> Response:
        """The board of one person. What is looked for comes in a form, never in an address."""
        now = datetime.now(UTC)
        page = environment().get_template("board.html")
        try:
            who = (await form_of(request, visitor)).get("who", "").strip()[:100]
        except CoprodError as error:
            return sorry(error, visitor)
        if visitor.is_patient or not who:
            return elsewhere("/")

        def look() -> str:
            board = found(self._store, survey(self._store, self._settings, now, visitor), who)
            return page.render(board=board, department="", visitor=visitor, who=who)

        return await self._answer(visitor, look)

    async def _quality(self, request: Request, visitor: Visitor) -> Response:
        page = environment().get_template("quality.html")
        return await self._answer(
            visitor,
            lambda: page.render(
                faults=wrong_in_records(self._store, self._settings, visitor), visitor=visitor
            ),
        )

    async def _operations(self, request: Request, visitor: Visitor) -> Response:
        page = environment().get_template("operations.html")
        return await self._answer(
            visitor,
            lambda: page.render(
                page=operating(self._store, self._settings, datetime.now(UTC), visitor), visitor=visitor
            ),
        )

    def _here(self, request: Request, visitor: Visitor) -> referral.Place:
        named = request.path_params
        return referral.place(self._store, self._settings, visitor, named["kind"], named["id"])

    async def _show(self, request: Request, visitor: Visitor) -> Response:
        open = request.query_params.get("take_back", "")
        return await self._answer(
            visitor,
            lambda: referral.referral_page(self._here(request, visitor), datetime.now(UTC), open=open),
        )

    async def _letter(self, request: Request, visitor: Visitor) -> Response:
        if request.method == "POST":
            return await self._act(request, visitor, referral.send)
        about = request.query_params.get("about", "")
        language = request.query_params.get("language", "")
        return await self._answer(
            visitor,
            lambda: referral.letter_page(self._here(request, visitor), datetime.now(UTC), about, language),
        )

    def _acting(self, what: Act) -> Handler:
        async def respond(request: Request, visitor: Visitor) -> Response:
            return await self._act(request, visitor, what)

        return respond

    async def _act(self, request: Request, visitor: Visitor, what: Act) -> Response:
        """Do what a form asks for, then show the referral; or say on its page what is wrong."""
        now = datetime.now(UTC)
        try:
            form = await form_of(request, visitor)
            at = self._here(request, visitor)
            await run_in_threadpool(what, at, form, now)
        except SignInAgain as error:
            return self._door.again_page(error.message, error.back)
        except CoprodError as error:
            said = error
            return await self._answer(
                visitor,
                lambda: referral.referral_page(self._here(request, visitor), now, said.message),
                said.status,
            )
        return elsewhere(at.path)

    async def _glass(self, request: Request, visitor: Visitor) -> Response:
        """The form by which the glass is broken, and what it opens."""
        store, settings = self._store, self._settings
        if request.method == "GET":
            return await self._answer(visitor, lambda: glass.page(store, visitor))
        try:
            form = await form_of(request, visitor)
            await run_in_threadpool(glass.act, store, settings, form, visitor, datetime.now(UTC))
        except SignInAgain as error:
            return self._door.again_page(error.message, error.back)
        except CoprodError as error:
            wrong = error
            return await self._answer(
                visitor, lambda: glass.page(store, visitor, wrong.message), wrong.status
            )
        return elsewhere(glass.PATH)

    async def _doubtful(self, request: Request, visitor: Visitor) -> Response:
        """The pairs of records that may be one person, and a word on one of them."""
        store, settings = self._store, self._settings
        if request.method == "GET":
            said = (request.query_params.get("pair", ""), request.query_params.get("word", ""))
            return await self._answer(visitor, lambda: people.page(store, visitor, said=said))
        try:
            form = await form_of(request, visitor)
            await run_in_threadpool(people.decide, store, settings, form, visitor, datetime.now(UTC))
        except SignInAgain as error:
            return self._door.again_page(error.message, error.back)
        except CoprodError as error:
            wrong = error
            return await self._answer(
                visitor, lambda: people.page(store, visitor, wrong.message), wrong.status
            )
        return elsewhere("/people")


def _stylesheet(name: str) -> Route:
    content = resources.files("fhir_coprod.web").joinpath("static", name).read_bytes()

    async def style(_: Request) -> Response:
        return Response(content, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return Route(f"/static/{name}", style)

"""The routes of the pages, for the application in `fhir_coprod.api` to mount at /."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from importlib import resources

import jinja2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.web.board import Board
from fhir_coprod.web.survey import survey

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
"""The page names patients: no cache keeps it, no other site frames it, no link tells where it came from."""


def routes(store: Store, settings: Settings) -> list[BaseRoute]:
    """The pages of this store."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("fhir_coprod.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"day": day, "moment": moment}
    stylesheet = resources.files("fhir_coprod.web").joinpath("static", "board.css").read_bytes()

    async def board(request: Request) -> Response:
        department = request.query_params.get("department", "")
        composed: Board = await run_in_threadpool(partial(survey, store, settings, datetime.now(UTC)))
        page = templates.get_template("board.html").render(board=composed, department=department)
        return HTMLResponse(page, headers=_HEADERS)

    async def style(_: Request) -> Response:
        return Response(stylesheet, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return [Route("/", board), Route("/static/board.css", style)]


def day(at: datetime) -> str:
    """23 November 2026."""
    return f"{at.day} {at:%B %Y}"


def moment(at: datetime) -> str:
    """23 November 2026, 09:14."""
    return f"{day(at)}, {at:%H:%M}"

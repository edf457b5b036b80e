"""Requests that are answered later: `Prefer: respond-async` (https://hl7.org/fhir/R4/async.html).

The request is written down in the database and answered by 202 with the address at which its answer will be.
The answer is a Bundle of type batch-response with one entry, as in R5
(https://hl7.org/fhir/R5/async-bundle.html): R4 has a form for bulk data only.

Only what reads is answered later. It can be done again without harm, so nothing is lost when the process that
works on it ends: whoever is asked next for the answer, in whatever process, goes on with it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final

import msgspec

from fhir_coprod import faults
from fhir_coprod.api.answer import Answer, error_answer, outcome_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint, Handler
from fhir_coprod.api.failures import RETRY_SECONDS, told
from fhir_coprod.api.formats import http_date, without_async
from fhir_coprod.api.interactions import searchset
from fhir_coprod.errors import NotFound, TooLarge
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Transaction, async_requests
from fhir_coprod.store.async_requests import AsyncRequest
from fhir_coprod.store.lease import Lease

log = logging.getLogger("fhir_coprod.api")

KEPT_SECONDS: Final = 3600
"""How long an answer can be fetched, and a request waits for somebody to work on it."""
LEASE_SECONDS: Final = 30
"""After so long without a sign of life of the process that works on it, another may go on with it."""
_REQUEST_BYTES: Final = 500_000
_HEADERS: Final = ("prefer", "content-type")
_decode = msgspec.json.Decoder(Call).decode


def later(handler: Handler) -> Handler:
    """The same handler, which answers later if it is asked to."""

    async def handle(call: Call, endpoint: Endpoint) -> Answer:
        if call.preferences.is_async and endpoint.settings.limits.async_requests:
            return await _accept(call, endpoint)
        return await handler(call, endpoint)

    return handle


async def _accept(call: Call, endpoint: Endpoint) -> Answer:
    """Write the request down, and begin to work on it."""
    if len(call.body) > _REQUEST_BYTES:
        raise TooLarge(
            f"What is answered later may have {_REQUEST_BYTES:,} bytes; ask without respond-async."
        )
    headers = {name: call.headers[name] for name in _HEADERS if name in call.headers}
    headers["prefer"] = without_async(headers["prefer"])
    id = str(uuid.uuid4())
    add = partial(
        async_requests.add,
        id=id,
        request=msgspec.json.encode(replace(call, headers=headers)),
        seconds=KEPT_SECONDS,
        most=endpoint.settings.limits.async_requests,
    )
    await endpoint.write(add)
    endpoint.background.start(id, partial(_work, endpoint, id))
    place = f"{call.base}/_async/{id}"
    said = _said(f"Ask {place} for the answer, by GET; DELETE it there if you do not need it any more.", 202)
    return replace(said, headers={"content-location": place, "preference-applied": "respond-async"})


async def status(call: Call, endpoint: Endpoint) -> Answer:
    """GET _async/[id]: 202 as long as there is no answer, then 200 with the answer."""
    kept = await endpoint.in_thread(async_requests.find, endpoint.store, call.id)
    if kept is None or not _is_of(call, kept):
        raise NotFound("Nothing is answered here: it was taken back or is too old; ask again.")
    if kept.answer:
        return Answer(200, kept.answer, headers={"expires": http_date(kept.until // 1000)})
    if not endpoint.background.has(call.id):
        # Perhaps the process that worked on it has ended.
        endpoint.background.start(call.id, partial(_work, endpoint, call.id))
    said = _said("There is no answer yet; ask again in a few seconds.", 202)
    return replace(said, headers={"x-progress": "in progress", "retry-after": str(RETRY_SECONDS)})


async def cancel(call: Call, endpoint: Endpoint) -> Answer:
    """DELETE _async/[id]: end the work on a request, and forget it with its answer."""
    kept = await endpoint.in_thread(async_requests.find, endpoint.store, call.id)
    if kept is not None and not _is_of(call, kept):
        raise NotFound(_NOTHING)
    endpoint.background.cancel(call.id)
    if not await endpoint.write(partial(async_requests.forget, id=call.id)):
        raise NotFound(_NOTHING)
    return _said("Taken back.", 202)


_NOTHING = "There is nothing to take back here."


def _is_of(call: Call, kept: AsyncRequest) -> bool:
    """Whether this caller has asked for it, and may see as much now as then; it is nobody else's."""
    asked, asking = _decode(kept.request).caller.rights, call.caller.rights
    return replace(asked, session="") == replace(asking, session="")


def _said(sentence: str, status: int) -> Answer:
    return outcome_answer(Outcome((Issue("information", "informational", sentence),)), status)


async def _work(endpoint: Endpoint, id: str) -> None:
    """Answer a request, unless another process works on it."""
    lease = Lease(f"async/{id}", LEASE_SECONDS)
    try:
        if await endpoint.write(lease.take) is not None:
            return
        kept = await endpoint.in_thread(async_requests.find, endpoint.store, id)
        if kept is not None and not kept.answer:
            await _holding(endpoint, id, lease, _answer(endpoint, id, kept))
        await endpoint.write(lease.give_up)
    except Exception as error:  # noqa: BLE001  # nobody waits for it; the next who asks for the answer tries again
        log.error("async request: %s", faults.traced(error))


async def _holding(endpoint: Endpoint, id: str, lease: Lease, work: Coroutine[object, object, None]) -> None:
    """Do the work, as long as the request is not taken back and the lease is ours."""

    def goes_on(transaction: Transaction) -> bool:
        return lease.prolong(transaction) and async_requests.is_wanted(transaction, id)

    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=LEASE_SECONDS / 3))[0]:
            if not await endpoint.write(goes_on):
                return
        task.result()
    finally:
        task.cancel()


async def _answer(endpoint: Endpoint, id: str, kept: AsyncRequest) -> None:
    call = _decode(kept.request)
    handler = next(row.handler for row in endpoint.table if row.name == call.interaction)
    try:
        seconds = endpoint.settings.limits.async_seconds
        found = await endpoint.in_time(endpoint.perform(call, handler), seconds)
    except Exception as error:  # noqa: BLE001  # it is the answer
        found = error_answer(told(error, call.interaction))
    if endpoint.auditing.minds(call):
        # Whoever fetches the answer is remembered as well, without what is in it.
        await endpoint.auditing.keep(call, found)
    entry = searchset.response_entry(found, HTTPStatus(found.status).phrase, with_body=True)
    body = searchset.bundle("batch-response", [], [entry]).body
    keep = partial(async_requests.answer, id=id, kept=kept, answer=body, seconds=KEPT_SECONDS)
    await endpoint.write(keep)
    asyncio.get_running_loop().call_later(KEPT_SECONDS + 1, endpoint.store.submit, async_requests.forget_old)

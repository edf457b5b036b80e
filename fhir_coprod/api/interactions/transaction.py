"""POST to the root: batch and transaction (https://hl7.org/fhir/R4/http.html#transaction).

A transaction is one write, all or nothing: it is parsed as a whole, ids are decided, links rewritten, what
results is validated, and the entries are applied in the order of the specification (DELETE, POST, PUT and
PATCH, then GET). References by criteria see what the transaction itself writes, as R4 resolves them last.
The entries of a batch are independent: each has its own status and OperationOutcome. Reads in a transaction
run after its commit and see its result; one that finds nothing says so in its own entry and undoes nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from urllib.parse import unquote

import msgspec

from fhir_coprod import deadline
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sight import sight, sight_on
from fhir_coprod.api.answer import Answer, error_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint, Interaction
from fhir_coprod.api.failures import told
from fhir_coprod.api.formats import time_parameter, without_async
from fhir_coprod.api.interactions import rightful, searchset, writing
from fhir_coprod.api.interactions.resolving import Step, both, in_turn, located, resolve_all
from fhir_coprod.api.interactions.writing import Done, PlannedWrite
from fhir_coprod.deadline import OutOfTime
from fhir_coprod.errors import BadRequest, CoprodError, Gone, NotFound, TooLarge
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import MOST_ISSUES, listed
from fhir_coprod.store import Store, Transaction, links
from fhir_coprod.store.links import Addresses, folded, settled
from fhir_coprod.store.matching import Finder, pairs

READS_AT_ONCE = 4
"""How many reads of one bundle run at once: others still find threads, and little is read in vain when the
answer runs out of room."""
_ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2, "GET": 3, "HEAD": 3}
_CHANGING = frozenset({"create", "update", "patch", "delete"})
_READING = frozenset(
    {"read", "vread", "search-type", "search-system", "history-instance", "history-type", "history-system"}
)


class _Request(msgspec.Struct, rename="camel"):
    method: str
    url: str
    if_none_match: str | None = None
    if_modified_since: str = ""
    if_match: str | None = None
    if_none_exist: str | None = None


class _Entry(msgspec.Struct, rename="camel"):
    request: _Request
    full_url: str = ""
    resource: msgspec.Raw = msgspec.Raw()


class _Bundle(msgspec.Struct):
    type: str
    entry: list[_Entry] = []


_decode = msgspec.json.Decoder(_Bundle).decode


async def post_bundle(call: Call, endpoint: Endpoint) -> Answer:
    """POST [base]: perform a Bundle of type batch or transaction."""
    async with endpoint.bodies(len(call.body)):
        document, bundle = await endpoint.check(len(call.body), _understood, call)
        return await _performed(call, endpoint, document, bundle)


def _understood(call: Call) -> tuple[Document, _Bundle]:
    document = call.document()
    if document.type != "Bundle":
        raise BadRequest(
            "The root takes a Bundle of type batch or transaction; send a resource to its own type."
        )
    try:
        return document, _decode(document.raw)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The Bundle cannot be performed: {error}.") from None


async def _performed(call: Call, endpoint: Endpoint, document: Document, bundle: _Bundle) -> Answer:
    if len(bundle.entry) > endpoint.settings.limits.bundle_entries:
        raise TooLarge(
            f"A bundle takes at most {endpoint.settings.limits.bundle_entries:,} entries; split it."
        )
    found = document.data.get("entry", [])
    if bundle.type == "batch":
        return await _batch(call, endpoint, bundle, found)
    if bundle.type == "transaction":
        return await _transaction(call, endpoint, bundle, found)
    raise BadRequest("The type of the Bundle must be batch or transaction.", expression="Bundle.type")


async def _batch(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> Answer:
    steps = await endpoint.in_thread(
        _prepare_each, call, endpoint, bundle, found, lane=writing.lane(len(call.body))
    )
    writes = [step for step in _in_order(steps) if step.change and not step.answer]
    # All are submitted before the first is awaited, so that they share commits and keep their order.
    results = await asyncio.gather(*(_write_alone(endpoint, step) for step in writes))
    for step, answer in zip(writes, results, strict=True):
        step.answer = answer
    await _read_all(endpoint, steps)
    return _response("batch-response", call, steps)


def _prepare_each(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> list[Step]:
    steps = []
    for index, entry in enumerate(bundle.entry):
        step = Step(index, entry.full_url, entry.request.method)
        deadline.check()
        try:
            _understand(step, call, endpoint, entry, found[index].get("resource"))
            if step.change is not None:
                _settle(endpoint, step.change, Addresses({}, base=call.base))
        except OutOfTime:
            raise
        except CoprodError as error:
            step.answer = error_answer(error)
        steps.append(step)
    return steps


def _understand(step: Step, call: Call, endpoint: Endpoint, entry: _Entry, data: Json | None) -> None:
    """Find the interaction of an entry, and what it changes."""
    step.row, step.call = _entry_call(call, endpoint, entry, data)
    endpoint.admit(step.call)
    if step.row.name in _CHANGING:
        step.change = writing.parse(step.call)


def _entry_call(call: Call, endpoint: Endpoint, entry: _Entry, data: Json | None) -> tuple[Interaction, Call]:
    request = entry.request
    if request.method not in _ORDER:
        raise BadRequest("request.method must be GET, HEAD, POST, PUT, PATCH or DELETE.")
    url = request.url.removeprefix(f"{call.base}/")
    if "://" in url.partition("?")[0]:
        raise BadRequest("request.url names another server; write it relative, such as Patient/example.")
    path, _, query = url.partition("?")
    row, named = endpoint.find(request.method, f"/{unquote(path).strip('/')}".rstrip("/"))
    if row.name == "transaction":
        raise BadRequest("A Bundle cannot hold another batch or transaction; put its entries into this one.")
    if data is not None and not isinstance(data, dict):
        raise BadRequest("The resource of an entry must be an object.")
    headers = {
        "prefer": without_async(call.headers.get("prefer", "")),  # the Bundle is answered as a whole
        "if-modified-since": request.if_modified_since,
    }
    conditions = {
        "if-match": request.if_match,
        "if-none-match": request.if_none_match,
        "if-none-exist": request.if_none_exist,
    }
    if request.if_modified_since:
        time_parameter(request.if_modified_since, "request.ifModifiedSince")
    headers |= {name: value for name, value in conditions.items() if value is not None}
    document = Document(bytes(entry.resource), data) if data is not None else None
    if document is None and request.method in ("POST", "PUT", "PATCH") and row.name in _CHANGING:
        raise BadRequest(f"A {request.method} entry needs a resource.")
    return row, Call(
        interaction=row.name,
        method=request.method,
        base=call.base,
        type=named.get("type") or named.get("owner", ""),
        id=named.get("id", ""),
        version=named.get("version", ""),
        member=named.get("member", ""),
        query=pairs(query),
        headers=headers,
        parsed=document,
        caller=call.caller,
    )


def _in_order(steps: list[Step]) -> list[Step]:
    return sorted(steps, key=lambda step: _ORDER.get(step.method, 3))


async def _write_alone(endpoint: Endpoint, step: Step) -> Answer:
    call, change = both(step)
    try:
        done = await endpoint.write(
            lambda transaction: writing.perform(transaction, endpoint.store, change),
            [call],
            lambda done: [done.written],
        )
    except Exception as error:  # noqa: BLE001  # the other entries have nothing to do with it
        return error_answer(told(error, call.interaction))
    return _recorded(endpoint, call, writing.answer(call, change, done))


def _recorded(endpoint: Endpoint, call: Call, answer: Answer) -> Answer:
    answer.is_recorded = endpoint.auditing.minds(call)
    return answer


async def _read_all(endpoint: Endpoint, steps: list[Step]) -> None:
    """Answer the entries that read, a few at a time, as long as the whole answer has room for more."""
    limit = endpoint.settings.limits.answer_bytes
    room = limit - sum(len(step.answer.body) for step in steps if step.answer)
    waiting = iter([step for step in steps if not step.answer])

    async def work() -> None:
        nonlocal room
        for step in waiting:
            answer = await _read(endpoint, step) if room > 0 else None
            room -= len(answer.body) if answer else 0
            step.answer = answer if answer and room >= 0 else error_answer(_no_room(limit))

    await asyncio.gather(*(work() for _ in range(READS_AT_ONCE)))


def _no_room(limit: int) -> TooLarge:
    return TooLarge(
        f"The answers to this bundle are larger than this server gives at once ({limit:,} bytes); "
        "send this entry in another bundle, or alone."
    )


async def _read(endpoint: Endpoint, step: Step) -> Answer:
    if step.call is None or step.row is None:
        raise AssertionError("an entry without an answer has been understood")
    try:
        return await endpoint.perform(step.call, step.row.handler)
    except Exception as error:  # noqa: BLE001  # the other entries have nothing to do with it
        return error_answer(told(error, step.row.name))


async def _transaction(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> Answer:
    steps = await endpoint.in_thread(
        _prepare_all, call, endpoint, bundle, found, lane=writing.lane(len(call.body))
    )
    writes = [step for step in _in_order(steps) if step.change]
    store, rights = endpoint.store, call.caller.rights
    done = await endpoint.write(
        lambda transaction: _apply_all(transaction, store, rights, writes),
        [both(step)[0] for step in writes],
        lambda done: [each.written for each in done],
    )
    for step, result in zip(writes, done, strict=True):
        step.answer = _recorded(endpoint, both(step)[0], writing.answer(*both(step), result))
    _name_entries(steps, zip(writes, done, strict=True), call.base)
    await _read_all(endpoint, steps)
    return _response("transaction-response", call, steps)


def _prepare_all(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> list[Step]:
    """Prepare all entries, or raise one error that lists what is wrong with each of them."""
    steps: list[Step] = []
    wrong: dict[int, CoprodError] = {}
    for index, entry in enumerate(bundle.entry):
        step = Step(index, entry.full_url, entry.request.method)
        steps.append(step)
        deadline.check()
        with _noting(wrong, index):
            _understand(step, call, endpoint, entry, found[index].get("resource"))
            if step.row and step.row.name not in _CHANGING | _READING:
                raise BadRequest("Operations have no place in a transaction; send them alone or in a batch.")
        if len(wrong) > MOST_ISSUES:
            break
    addresses = _addresses(steps, call.base, wrong)
    told = sum(issue.is_error for error in wrong.values() for issue in error.outcome.issues)
    for step in steps:
        if step.change is None or step.index in wrong or told > MOST_ISSUES:
            continue
        deadline.check()
        with _noting(wrong, step.index):
            _settle(endpoint, step.change, addresses, step.full_url, links.provisional)
        told += sum(issue.is_error for issue in wrong[step.index].outcome) if step.index in wrong else 0
    if wrong:
        first = wrong[min(wrong)]
        first.outcome = listed([issue for index in sorted(wrong) for issue in wrong[index].outcome])
        raise first
    return steps


@contextmanager
def _noting(wrong: dict[int, CoprodError], index: int) -> Iterator[None]:
    try:
        yield
    except OutOfTime:
        raise
    except CoprodError as error:
        wrong[index] = located(error, index)


def _addresses(steps: list[Step], base: str, wrong: Mapping[int, CoprodError]) -> Addresses:
    """What the fullUrls of the entries mean, as far as that does not depend on what is in the store.

    An entry with criteria, and one that is wrong itself, has a provisional id.
    """
    here: dict[str, str] = {}
    undecided: set[str] = set()
    for step in steps:
        change = step.change
        if change is None:
            if step.index in wrong and step.full_url:
                here.setdefault(folded(step.full_url), f"{_type_of(step)}/{uuid.uuid4()}")
            continue
        if change.kind == "create":
            change.id = str(uuid.uuid4())
        if not step.full_url or change.kind == "delete":
            continue
        address = folded(step.full_url)
        if address in here:
            raise BadRequest(
                "Two entries have the same fullUrl; give each its own urn:uuid.",
                expression=f"Bundle.entry[{step.index}].fullUrl",
            )
        here[address] = f"{change.type}/{change.id or uuid.uuid4()}"
        if change.criteria is not None:
            undecided.add(address)
    return Addresses(here, frozenset(undecided), base)


def _type_of(step: Step) -> str:
    return step.call.type if step.call and step.call.type else "Basic"


def _settle(
    endpoint: Endpoint,
    change: PlannedWrite,
    addresses: Addresses,
    full_url: str = "",
    find: links.Find | None = None,
) -> None:
    """Judge a write, and prepare it if it will be the same whatever is in the store: while a transaction
    runs, all other writes wait."""
    if change.kind == "patch":
        # What it changes is here, whatever place its fullUrl names.
        change.settle = partial(settled, addresses=addresses, find=find)
        if change.id:
            with suppress(NotFound, Gone):  # there may be more to say about that
                limit, name = sight_on(change.rights, "r", change.type), (change.type, change.id)
                store = endpoint.store
                current = store.read(*name) if limit is None else store.read_seen(*name, limit)
                writing.try_patch(change, current)
    else:
        change.settle = partial(settled, addresses=addresses, full_url=full_url, find=find)
        if writing.settle(change):
            writing.get_ready(change)


def _apply_all(transaction: Transaction, store: Store, rights: Rights, steps: list[Step]) -> list[Done]:
    """Apply all in one write: first decide the ids, so that links can be rewritten, then write."""
    # The store may run this again: each run starts from what the request said.
    steps = [replace(step, change=replace(both(step)[1])) for step in steps]
    addresses = resolve_all(transaction, steps)
    changes = [both(step)[1] for step in steps]
    transaction.fetch([(change.type, change.id) for change in changes if change.id])
    rightful.before(transaction, changes)
    finder = Finder(transaction, addresses, sight(rights, "s"))
    done: dict[int, Done] = {}
    for step in in_turn(steps):
        deadline.check()
        try:
            if step.twin is None:
                done[step.index] = _applied(transaction, step, finder)
        except CoprodError as error:
            raise located(error, step.index) from None
    rightful.after(transaction, store, [(both(step)[1], done[step.index]) for step in steps if not step.twin])
    for step in steps:
        if step.twin:
            done[step.index] = Done(done[step.twin.index].version, "found")
    return [done[step.index] for step in steps]


def _applied(transaction: Transaction, step: Step, finder: Finder) -> Done:
    change = both(step)[1]
    if change.ready is None and change.kind != "delete" and not change.found:
        url = "" if change.kind == "patch" else step.full_url
        change.settle = partial(settled, addresses=finder.addresses, full_url=url, find=finder.find)
        if change.document is not None:
            change.document = change.settle(change.document).document
    done = writing.apply(transaction, change)
    finder.forget(change.type)
    return done


def _name_entries(steps: list[Step], written: Iterable[tuple[Step, Done]], base: str) -> None:
    """Let the searches of a transaction name its other entries by their fullUrl, too."""
    here = {
        folded(step.full_url): f"{done.version.type}/{done.version.id}"
        for step, done in written
        if step.full_url and done.version and done.change != "deleted"
    }
    addresses = Addresses(here, base=base)
    for step in steps:
        call = step.call
        if call is None or step.answer:
            continue
        type = call.member or call.type
        if not any(links.entries_in(type, call.query, addresses)):
            continue
        try:
            call.query = links.named(type, call.query, addresses)
        except BadRequest as error:
            step.answer = error_answer(error)


def _response(type: str, call: Call, steps: list[Step]) -> Answer:
    whole = call.preferences.returning == "representation"
    entries = []
    room = MOST_ISSUES
    for step in steps:
        if step.answer is None:
            raise AssertionError("every entry has been answered")
        if step.answer.outcome is not None:
            room -= len(step.answer.outcome.issues)
            if room < 0:
                step.answer.outcome = listed(step.answer.outcome.issues, most=1)
        reason = HTTPStatus(step.answer.status).phrase
        entry = searchset.response_entry(step.answer, reason, with_body=whole or step.method == "GET")
        if "location" in entry["response"]:
            entry["response"]["location"] = entry["response"]["location"].removeprefix(f"{call.base}/")
        entries.append(entry)
    answer = searchset.bundle(type, [], entries)
    answer.parts = [(step.call or call, step.answer) for step in steps if step.answer]
    return answer

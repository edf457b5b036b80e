"""POST to the root: batch and transaction (https://hl7.org/fhir/R4/http.html#transaction).

A transaction is one write, all or nothing: it is parsed and validated as a whole, ids are decided, references
rewritten, and the entries applied in the order of the specification (DELETE, POST, PUT and PATCH, then GET).
The entries of a batch are independent: each has its own status and OperationOutcome. Reads in a transaction
run after its commit and see its result; one that finds nothing says so in its own entry and undoes nothing.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from urllib.parse import unquote

import msgspec

from fhir_coprod import deadline, definitions, jsontext
from fhir_coprod.api.answer import Answer, error_answer
from fhir_coprod.api.call import Call, pairs
from fhir_coprod.api.endpoint import INLINE_BYTES, Endpoint, Interaction, Lane, told
from fhir_coprod.api.formats import time_parameter
from fhir_coprod.api.interactions import links, searchset, writing
from fhir_coprod.api.interactions.writing import Done, PlannedWrite
from fhir_coprod.deadline import OutOfTime
from fhir_coprod.errors import BadRequest, CoprodError, Gone, NotFound, PreconditionFailed, TooLarge
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import MOST_ISSUES, Issue, Outcome, listed
from fhir_coprod.store import Transaction

_RELATIVE_REFERENCE = re.compile(rf"[A-Za-z]+/{jsontext.ID_PATTERN}")
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


@dataclass(slots=True)
class Step:
    """One entry in progress: its call, then the change it makes, then its answer.

    twin: an earlier entry with the same conditional create; this one answers with its result
    """

    index: int
    full_url: str
    method: str
    row: Interaction | None = None
    call: Call | None = None
    change: PlannedWrite | None = None
    twin: Step | None = None
    answer: Answer | None = None


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
    steps = await endpoint.in_thread(_prepare_each, call, endpoint, bundle, found, lane=_lane(call))
    writes = [step for step in _in_order(steps) if step.change and not step.answer]
    # All are submitted before the first is awaited, so that they share commits and keep their order.
    results = await asyncio.gather(*(_write_alone(endpoint, step) for step in writes))
    for step, answer in zip(writes, results, strict=True):
        step.answer = answer
    await _read_all(endpoint, steps)
    return _response("batch-response", call, steps)


def _lane(call: Call) -> Lane:
    return "body" if len(call.body) > INLINE_BYTES else "search"


def _prepare_each(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> list[Step]:
    steps = []
    for index, entry in enumerate(bundle.entry):
        step = Step(index, entry.full_url, entry.request.method)
        deadline.check()
        try:
            _understand(step, call, endpoint, entry, found[index].get("resource"))
            if step.change is not None:
                _try_patch(endpoint, step.change)
                writing.get_ready(step.change, {})
        except OutOfTime:
            raise
        except CoprodError as error:
            step.answer = error_answer(error)
        steps.append(step)
    return steps


def _understand(step: Step, call: Call, endpoint: Endpoint, entry: _Entry, data: Json | None) -> None:
    """Find the interaction of an entry, and prepare it when it changes something."""
    step.row, step.call = _entry_call(call, endpoint, entry, data)
    endpoint.admit(step.call)
    if step.row.name in _CHANGING:
        step.change = writing.prepare(step.call)


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
        "prefer": call.headers.get("prefer", ""),
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
    call, change = _both(step)
    try:
        done = await endpoint.write(lambda transaction: writing.perform(transaction, change))
    except Exception as error:  # noqa: BLE001  # the other entries have nothing to do with it
        return error_answer(told(error, call.interaction))
    return writing.answer(call, change, done)


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


def _both(step: Step) -> tuple[Call, PlannedWrite]:
    if step.call is None or step.change is None:
        raise AssertionError("a step that writes has been prepared")
    return step.call, step.change


async def _transaction(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> Answer:
    steps = await endpoint.in_thread(_prepare_all, call, endpoint, bundle, found, lane=_lane(call))
    writes = [step for step in _in_order(steps) if step.change]
    done = await endpoint.write(lambda transaction: _apply_all(transaction, writes))
    for step, result in zip(writes, done, strict=True):
        step.answer = writing.answer(*_both(step), result)
    await _read_all(endpoint, steps)
    return _response("transaction-response", call, steps)


def _prepare_all(call: Call, endpoint: Endpoint, bundle: _Bundle, found: list[Json]) -> list[Step]:
    """Prepare all entries, or raise one error that lists what is wrong with each of them."""
    steps: list[Step] = []
    issues: list[Issue] = []
    first: CoprodError | None = None
    for index, entry in enumerate(bundle.entry):
        step = Step(index, entry.full_url, entry.request.method)
        deadline.check()
        try:
            _understand(step, call, endpoint, entry, found[index].get("resource"))
            if step.row and step.row.name not in _CHANGING | _READING:
                raise BadRequest("Operations have no place in a transaction; send them alone or in a batch.")
        except OutOfTime:
            raise
        except CoprodError as error:
            issues += _located(error, index).outcome.issues
            first = first or error
            if sum(issue.is_error for issue in issues) > MOST_ISSUES:
                break
        steps.append(step)
    if first:
        first.outcome = listed(issues)
        raise first
    _get_ready(endpoint, steps)
    return steps


def _try_patch(endpoint: Endpoint, change: PlannedWrite) -> None:
    if change.kind == "patch" and change.id:
        with suppress(NotFound, Gone):  # there may be more to say about that
            writing.try_patch(change, endpoint.store.read(change.type, change.id))


def _get_ready(endpoint: Endpoint, steps: list[Step]) -> None:
    """Prepare each write that will be the same whatever is in the store: while a transaction runs, all other
    writes wait."""
    decided: dict[str, str] = {}
    undecided: set[str] = set()
    for step in steps:
        change = step.change
        if change is None or change.kind not in ("create", "update"):
            continue
        if change.kind == "create":
            change.id = str(uuid.uuid4())
        if change.criteria is None:
            decided[step.full_url] = f"{change.type}/{change.id}"
        else:
            undecided.add(step.full_url)
    decided.pop("", None)
    undecided.discard("")
    everything = {**decided, **dict.fromkeys(undecided, "")}
    for step in steps:
        change = step.change
        if change is None:
            continue
        deadline.check()
        _try_patch(endpoint, change)
        if change.document is None:
            continue
        if undecided and links.names_any(change.document, undecided):
            continue
        with suppress(_Undecided):
            references = _references(None, step, everything)
            if "" not in references.values():
                if decided:
                    change.document = links.relinked(change.document, decided)
                writing.get_ready(change, references)


class _Undecided(Exception):
    """It depends on what is in the store."""


def _located(error: CoprodError, index: int) -> CoprodError:
    """The same error, with the place of its issues within the Bundle."""
    error.outcome = Outcome(
        tuple(replace(issue, expression=_place(issue.expression, index)) for issue in error.outcome.issues)
    )
    return error


def _place(expression: str, index: int) -> str:
    entry = f"Bundle.entry[{index}]"
    return f"{entry}.resource.{expression.partition('.')[2]}".rstrip(".") if expression else entry


def _apply_all(transaction: Transaction, steps: list[Step]) -> list[Done]:
    """Apply all in one write: first decide the ids, so that references can be rewritten, then write."""
    # The store may run this again: each run starts from what the request said.
    steps = [replace(step, change=replace(_both(step)[1])) for step in steps]
    _resolve_all(transaction, steps)
    changes = [_both(step)[1] for step in steps]
    transaction.fetch([(change.type, change.id) for change in changes if change.id])
    identities = _identities(steps)
    done: dict[int, Done] = {}
    for step in steps:
        deadline.check()
        try:
            if step.twin:
                done[step.index] = Done(done[step.twin.index].version, "found")
                continue
            change = _both(step)[1]
            references = {}
            if change.ready is None:
                references = _references(transaction, step, identities)
                if change.document is not None and identities:
                    change.document = links.relinked(change.document, identities)
            done[step.index] = writing.apply(transaction, change, references)
        except CoprodError as error:
            raise _located(error, step.index) from None
    return [done[step.index] for step in steps]


def _resolve_all(transaction: Transaction, steps: list[Step]) -> None:
    """Decide every id before the first write; raises BadRequest if two entries mean the same resource.

    R4: deletions come first, so that a conditional create no longer finds what they delete.
    """
    taken: dict[tuple[str, str], Step] = {}
    asked: dict[tuple[str, object], Step] = {}
    for step in steps:
        change = _both(step)[1]
        try:
            writing.resolve(transaction, change)
        except CoprodError as error:
            raise _located(error, step.index) from None
        if change.kind == "create":
            _resolve_create(step, change, taken, asked)
            continue
        if change.kind == "update" and not change.id:
            change.id = str(uuid.uuid4())
        earlier = taken.setdefault((change.type, change.id), step) if change.id else step
        if change.kind == "update" and change.criteria is not None and earlier is step:
            # If the criteria find nothing, each of two such entries would create a resource.
            earlier = asked.setdefault((change.type, tuple(sorted(change.criteria))), step)
        if earlier is not step:
            raise BadRequest(
                f"Entries {earlier.index} and {step.index} are about one resource; keep one.",
                expression=f"Bundle.entry[{step.index}]",
            )


def _resolve_create(
    step: Step,
    change: PlannedWrite,
    taken: dict[tuple[str, str], Step],
    asked: dict[tuple[str, object], Step],
) -> None:
    if change.found:
        other = taken.get((change.type, change.found.id))
        if other is None or _both(other)[1].kind != "delete":
            return
        change.found = None
    if change.criteria is not None:
        # The second of two identical conditional creates gets what the first will store.
        first = asked.setdefault((change.type, tuple(sorted(change.criteria))), step)
        step.twin = first if first is not step else None
    if step.twin:
        change.id = _both(step.twin)[1].id
    else:
        change.id = change.ready.id if change.ready else change.id or str(uuid.uuid4())


def _identities(steps: list[Step]) -> dict[str, str]:
    """The reference that each resource has here, by its fullUrl."""
    identities: dict[str, str] = {}
    for step in steps:
        change = _both(step)[1]
        if not step.full_url or change.kind not in ("create", "update"):
            continue
        if step.full_url in identities:
            raise BadRequest(
                "Two entries have the same fullUrl; give each its own urn:uuid.",
                expression=f"Bundle.entry[{step.index}].fullUrl",
            )
        identities[step.full_url] = f"{change.type}/{change.id}"
    return identities


def _references(transaction: Transaction | None, step: Step, identities: dict[str, str]) -> dict[str, str]:
    """New values for an entry's references: ids of this bundle's resources, what conditional ones find.

    Raises _Undecided if there is a conditional one, and no transaction yet.
    """
    document = _both(step)[1].document
    rewritten: dict[str, str] = {}
    for reference in document.references() if document else ():
        if reference in identities:
            rewritten[reference] = identities[reference]
        elif _RELATIVE_REFERENCE.fullmatch(reference):
            # Relative to where this entry says it comes from: http://other/fhir/Patient/1 -> http://other/fhir/
            home = "/".join(step.full_url.split("/")[:-2])
            if f"{home}/{reference}" in identities:
                rewritten[reference] = identities[f"{home}/{reference}"]
        elif conditional := writing.by_criteria(reference, _both(step)[1].base):
            if transaction is None:
                raise _Undecided
            type, criteria = conditional
            if not definitions.is_resource_type(type):
                raise BadRequest(
                    f"A conditional reference names {type[:64]!r}, which is no resource type of R4."
                )
            target = writing.matching(transaction, type, pairs(criteria), _both(step)[1].base)
            if target is None:
                raise PreconditionFailed(
                    f"A conditional reference finds no {type}; send it along or correct it."
                )
            rewritten[reference] = f"{type}/{target.id}"
    return rewritten


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
    return searchset.bundle(type, [], entries)

"""The operation $validate."""

from __future__ import annotations

from fhir_coprod import jsontext
from fhir_coprod.api.answer import Answer, outcome_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.inputs import Inputs, inputs
from fhir_coprod.api.interactions import writing
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    InvalidResource,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    UnknownType,
)
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Transaction, Version
from fhir_coprod.validation import validate_document

_OF_VALIDATE = ("mode", "profile")
_METHODS = {"create": "POST", "update": "PUT"}
_INTERACTIONS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
_PRECONDITIONS = ("if-match", "if-none-match", "if-none-exist")
_MODES = ("", "create", "update", "delete", "profile")


async def validate(call: Call, endpoint: Endpoint) -> Answer:
    """POST $validate on a type or an instance, GET on an instance: always 200 with an OperationOutcome.

    The resource comes bare or in Parameters (resource, mode, profile). If an instance is given none, its
    stored version is checked. With a mode, the write is tried and undone, so that the answer says whatever
    that write would be refused for. https://hl7.org/fhir/R4/resource-operation-validate.html
    """
    size = len(call.body)
    async with endpoint.bodies(size):
        given = await endpoint.check(size, _inputs_of_validate, call)
        outcome, stored = await _validated(call, endpoint, given)
    ignored = tuple(Issue("warning", "not-supported", f"Ignored: {said}") for said in given.unknown)
    answer = outcome_answer(Outcome((*outcome.issues, *ignored)))
    answer.shown = stored
    return answer


def _inputs_of_validate(call: Call) -> Inputs:
    return inputs(call, _OF_VALIDATE, on_resource=True)


async def _validated(call: Call, endpoint: Endpoint, given: Inputs) -> tuple[Outcome, tuple[Version, ...]]:
    """What is wrong, and the stored version of which that says something."""
    stored: tuple[Version, ...] = ()
    mode, profile = given.get("mode"), given.get("profile")
    if mode not in _MODES:
        raise BadRequest("mode is one of create, update, delete or profile.")
    if mode == "delete":
        if not call.id:
            raise BadRequest("mode=delete is about one resource; call $validate on it.")
        await endpoint.read(call.type, call.id, call.caller.rights)
        may = Issue("information", "informational", "It may be deleted.")
        refused = await _tried(call, endpoint, "DELETE", None)
        return (Outcome((may,)) if refused is None else refused), stored
    document = given.resource
    if document is None:
        if not call.id:
            raise BadRequest(
                "There is nothing to validate; send the resource, bare or as the parameter `resource`."
            )
        stored = (await endpoint.read(call.type, call.id, call.caller.rights),)
        document = jsontext.parse(stored[0].body)
    if call.type and document.type != call.type:
        raise BadRequest(f"The resource is not a {call.type}; send it to its own type or to the root.")
    size = len(document.raw)
    async with endpoint.bodies(size if given.resource is None else 0):
        outcome = await endpoint.check(size, validate_document, document, profile or None)
        method = _METHODS.get(mode)
        refused = await _tried(call, endpoint, method, document) if method else None
    # An outcome with errors is falsy. What is wrong by both is told once.
    told = outcome.issues if refused is None else (*refused.issues, *outcome.issues)
    return Outcome(tuple(dict.fromkeys(told))), stored


_REFUSALS = (
    BadRequest,
    Conflict,
    InvalidResource,
    NotAllowed,
    NotFound,
    PreconditionFailed,
    UnknownType,
)


class _Accepted(Exception):
    """Ends a write that was only tried, so that nothing of it remains."""


async def _tried(call: Call, endpoint: Endpoint, method: str, document: Document | None) -> Outcome | None:
    """Why this server would refuse to write the resource; None if it would not."""
    id = "" if method == "POST" else call.id or _own_id(document)
    write = Call(
        interaction=_INTERACTIONS[method],
        method=method,
        base=call.base,
        type=call.type or (document.type if document else ""),
        id=id,
        headers={name: call.headers[name] for name in _PRECONDITIONS if name in call.headers},
        parsed=document,
        caller=call.caller,
    )
    try:
        endpoint.admit(write)
        change = await endpoint.check(len(document.raw) if document else 0, writing.prepare, write)

        def work(transaction: Transaction) -> None:
            writing.perform(transaction, endpoint.store, change)
            raise _Accepted

        await endpoint.write(work)
    except _Accepted:
        return None
    except _REFUSALS as error:
        return error.outcome
    raise AssertionError("the work ends by an error")


def _own_id(document: Document | None) -> str:
    id = document.data.get("id") if document else ""
    if not isinstance(id, str) or not id:
        raise BadRequest("mode=update is about one resource; call $validate on it, or send it with its id.")
    return id

"""The operation $validate."""

from __future__ import annotations

from fhir_coprod import jsontext
from fhir_coprod.api.answer import Answer, outcome_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.inputs import Inputs, inputs
from fhir_coprod.api.interactions import allowed
from fhir_coprod.errors import BadRequest, NotAllowed
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.validation import validate_document

_MODES = ("", "create", "update", "delete", "profile")


async def validate(call: Call, endpoint: Endpoint) -> Answer:
    """POST $validate on a type or an instance, GET on an instance: always 200 with an OperationOutcome.

    The resource comes bare or in Parameters (resource, mode, profile). If an instance is given none, its
    stored version is checked. https://hl7.org/fhir/R4/resource-operation-validate.html
    """
    size = len(call.body)
    async with endpoint.bodies(size):
        return await _validated(call, endpoint, await endpoint.check(size, inputs, call))


async def _validated(call: Call, endpoint: Endpoint, given: Inputs) -> Answer:
    if given.get("mode") not in _MODES:
        raise BadRequest("mode is one of create, update, delete or profile.")
    if given.get("mode") == "delete":
        if not call.id:
            raise BadRequest("mode=delete is about one resource; call $validate on it.")
        await endpoint.read(call.type, call.id)
        try:
            allowed.protect(call.type, call.id)
        except NotAllowed as error:
            return outcome_answer(error.outcome)
        return outcome_answer(Outcome((Issue("information", "informational", "It may be deleted."),)))
    document = given.resource
    if document is None:
        if not call.id:
            raise BadRequest(
                "There is nothing to validate; send the resource, bare or as the parameter `resource`."
            )
        body = (await endpoint.read(call.type, call.id)).body
        async with endpoint.bodies(len(body)):
            outcome = await endpoint.check(len(body), _judged, body, given.get("profile"))
            return outcome_answer(outcome)
    if call.type and document.type != call.type:
        raise BadRequest(f"The resource is not a {call.type}; send it to its own type or to the root.")
    profile = given.get("profile") or None
    return outcome_answer(await endpoint.check(len(document.raw), validate_document, document, profile))


def _judged(body: bytes, profile: str) -> Outcome:
    return validate_document(jsontext.parse(body), profile or None)

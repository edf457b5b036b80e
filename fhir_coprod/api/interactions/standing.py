"""ServiceRequest/[id]/$standing: what the watch says about one referral, as a Parameters resource."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fhir_coprod.access.sight import barring
from fhir_coprod.api.answer import Answer, json_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.formats import time_parameter
from fhir_coprod.api.inputs import inputs
from fhir_coprod.errors import BadRequest, UnknownParameter
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch import Stall, Standing
from fhir_coprod.watch.live.look import look_at
from fhir_coprod.watch.rules import policies


async def standing(call: Call, endpoint: Endpoint) -> Answer:
    """Where the referral is, since when, and what is missing.

    `now` (a time) and `policy` (a name) ask what-if; the defaults are the present and the site's policy.
    """
    await endpoint.read(call.type, call.id, call.caller.rights)
    given = inputs(call, ("now", "policy"))
    if given.unknown:
        raise UnknownParameter(f"{given.unknown[0]} It has: now, policy.")
    now = time_parameter(given.get("now"), "now") if given.get("now") else datetime.now(UTC)
    policy = given.get("policy") or endpoint.settings.watch.policy
    if policy not in policies.names():
        raise BadRequest(f"policy is one of {', '.join(policies.names())}.")
    hidden = barring(call.caller.rights)
    found = await endpoint.in_thread(
        _assessed, endpoint.store, endpoint.settings, call.id, policy, now, hidden
    )
    return json_answer(as_parameters(found))


def _assessed(store: Store, settings: Settings, id: str, policy: str, now: datetime, hidden: int) -> Standing:
    return look_at(store, id, policies.load(policy, settings.site), now, settings, hidden)


def as_parameters(standing: Standing) -> Json:
    """The standing as FHIR Parameters; what is not known is left out."""
    parameters = [
        _of("referral", "Reference", _reference(standing.referral)),
        _of("patient", "Reference", _reference(standing.patient)),
        _of("stage", "Code", standing.stage),
        _of("since", "Instant", instant(standing.since)),
        _of("due", "Instant", instant(standing.due)),
        _of("owner", "Reference", _reference(standing.owner)),
        *({"name": "stall", "part": _parts(stall)} for stall in standing.stalls),
        *({"name": "note", "part": _parts(note)} for note in standing.notes),
        _of("scope", "Code", standing.scope),
        _of("inScope", "String", standing.in_scope),
        *({"name": "counted", "part": _parts(each)} for each in standing.counted),
        *(_of("notObservable", "Code", type) for type in standing.not_observable),
        _of("patientInformed", "Boolean", standing.patient_informed),
        _of("guarantee", "Instant", instant(standing.guarantee)),
        _of("policy", "String", standing.policy),
        _of("explanation", "String", standing.explanation),
    ]
    return {"resourceType": "Parameters", "parameter": [each for each in parameters if each]}


def _parts(stall: Stall) -> list[Json]:
    parts = [
        _of("rule", "Code", stall.rule),
        _of("since", "Instant", instant(stall.since)),
        _of("due", "Instant", instant(stall.due)),
        _of("owner", "Reference", _reference(stall.owner)),
        _of("task", "Reference", _reference(stall.task)),
        _of("severity", "Code", stall.severity),
        _of("missing", "String", stall.missing),
    ]
    return [part for part in parts if part]


def _of(name: str, kind: str, value: Any) -> Json:
    """A parameter, or {} where there is no value."""
    return {"name": name, f"value{kind}": value} if value is not None and value != "" else {}


def _reference(reference: str) -> Json | None:
    return {"reference": reference} if reference else None

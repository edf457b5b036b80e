"""SMART scopes, such as `patient/Observation.rs?category=laboratory`.

https://hl7.org/fhir/smart-app-launch/STU2/scopes-and-launch-context.html; those of the first version
(`user/*.read`) are read as what they mean in the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import parse_qsl, urlencode

from fhir_coprod import definitions
from fhir_coprod.errors import BadRequest

Context = Literal["system", "user", "patient"]
ACTIONS = "cruds"
"""create, read, update, delete, search: in a scope, those that it names stand in this order."""

_SHAPE = re.compile(r"(system|user|patient)/(\*|[A-Za-z]+)\.([a-z*]+)(?:\?(.+))?")
_FIRST_VERSION = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True, slots=True)
class Scope:
    """What one scope allows.

    type:     a resource type, or "*" for all
    actions:  letters out of `cruds`
    criteria: search parameters that a resource has to match as well; empty: any does
    """

    context: Context
    type: str
    actions: str
    criteria: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, text: str) -> Scope:
        """Raises BadRequest for what is no scope of SMART."""
        found = _SHAPE.fullmatch(text)
        if found is None:
            raise _unreadable(text)
        context, type, actions, query = found.groups()
        actions = _FIRST_VERSION.get(actions, actions)
        if not actions or actions != "".join(letter for letter in ACTIONS if letter in actions):
            raise _unreadable(text)
        if type != "*" and not definitions.is_resource_type(type):
            raise BadRequest(f"The scope {text!r} names {type}, which is no resource type of R4.")
        try:
            criteria = tuple(parse_qsl(query or "", strict_parsing=True)) if query else ()
        except ValueError:
            raise _unreadable(text) from None
        return cls(cast(Context, context), type, actions, criteria)

    def __str__(self) -> str:
        query = f"?{urlencode(self.criteria)}" if self.criteria else ""
        return f"{self.context}/{self.type}.{self.actions}{query}"

    def allows(self, action: str, type: str) -> bool:
        """Whether it is about this action on this type; each resource has to match its criteria as well."""
        return action in self.actions and self.type in (type, "*")


def read_scopes(texts: Iterable[str]) -> tuple[Scope, ...]:
    """All of them, in order and each once. Raises BadRequest, also where contexts are mixed: it could not be
    told which of them a call goes by."""
    scopes = tuple(dict.fromkeys(map(Scope.read, texts)))
    if len({scope.context for scope in scopes}) > 1:
        raise BadRequest("Scopes of system/, user/ and patient/ may not be mixed; ask for one kind.")
    return scopes


def _unreadable(text: str) -> BadRequest:
    return BadRequest(
        f"{text[:100]!r} is no scope of SMART; write for instance system/ServiceRequest.rs or user/*.cruds."
    )

"""What a caller may do: the result of every way to say who one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fhir_coprod.access.scopes import Scope

Kind = Literal["local", "program", "person", "patient", "proxy"]
ALL_DEPARTMENTS = "*"


@dataclass(frozen=True, slots=True)
class Rights:
    """A caller and what they may do. What these rights do not reach does not exist for the caller.

    kind:    local: on this machine, while nobody is asked who they are; program: SMART Backend Services;
             person: somebody of the staff; patient; proxy: somebody who speaks for a patient
    name:    who it is, for the audit: the id of the client, or of the person as issuer|subject
    scopes:  of one context (system, user or patient)
    patient: id of the Patient that `patient/` scopes are about
    departments: references to Organizations whose patients and referrals `user/` scopes reach
             (`ALL_DEPARTMENTS`: everybody's); empty: nobody's
    cleared: security labels that would keep a record from this caller and do not, such as R or PSY
    glass:   id of the one Patient for whom the glass was broken; "" for none
    practitioner: id of the Practitioner who it is; "": nobody knows, so whatever a patient refuses to any
             Practitioner is refused to them
    session: what tells this sign-in from others, for the audit; "" for none
    """

    kind: Kind
    name: str
    scopes: tuple[Scope, ...] = ()
    patient: str = ""
    departments: tuple[str, ...] = ()
    cleared: frozenset[str] = frozenset()
    glass: str = ""
    session: str = ""
    practitioner: str = ""


EVERYTHING = Rights("local", "", (Scope("system", "*", "cruds"),))
"""Of who sits at the machine, as long as nobody is asked who they are."""

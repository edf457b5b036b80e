"""The person behind a request for a page, and what of it they may see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_coprod.access.admission import STANDING
from fhir_coprod.access.rights import ALL_DEPARTMENTS, EVERYTHING, Rights
from fhir_coprod.access.roles import Acting
from fhir_coprod.access.sessions import Session
from fhir_coprod.access.sight import seen
from fhir_coprod.errors import NotAllowed, NotFound
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store

SHOWN: Final = tuple(type for type in STANDING if type != "ServiceRequest")
"""What the pages about referrals tell of beside the referral and its patient. It is not asked record by
record, so it takes a scope without criteria."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """The person behind a request for a page.

    rights:  what they may do
    session: None while nobody is asked who they are
    token:   what each of their forms has to bring
    ways:    in which they can act, with the names of the departments
    """

    rights: Rights = EVERYTHING
    session: Session | None = None
    token: str = ""
    ways: Sequence[tuple[Acting, str]] = ()

    @property
    def name(self) -> str:
        """What is written down of who did something; "" while nobody is asked who they are."""
        return self.session.person.shown if self.session else ""

    @property
    def acting(self) -> str:
        """In which roles and where, in words."""
        return next((words for way, words in self.ways if way.departments == self.rights.departments), "")

    @property
    def is_patient(self) -> bool:
        """Whether they see a patient's own page: the patient, or whoever speaks for them."""
        return self.rights.kind in ("patient", "proxy")

    @property
    def is_everywhere(self) -> bool:
        """Whether no department's referrals are kept from them."""
        return self.rights.kind == "local" or ALL_DEPARTMENTS in self.rights.departments

    def may(self, action: str, type: str) -> bool:
        """Whether they may do this to whatever of this type they see; a scope with criteria does not do."""
        return any(scope.allows(action, type) and not scope.criteria for scope in self.rights.scopes)

    def need(self, action: str, type: str) -> None:
        """Raise NotAllowed unless they may."""
        if not self.may(action, type):
            raise NotAllowed("Your role does not reach this; nothing was done.")

    def sees(self, store: Store, references: Iterable[str]) -> frozenset[str]:
        """Those of the references (Type/id) that exist for them."""
        return seen(store, self.rights, references)

    def shown(self, store: Store, referrals: Iterable[tuple[str, str]]) -> set[str]:
        """Those of the referrals that they may see, and from whose patient nothing keeps them.

        referrals: each with its patient; a patient who is not on record here keeps nobody from anything

        Raises NotAllowed for a role that does not reach what these pages are made of.
        """
        for type in SHOWN:
            if not self.may("r", type):
                raise NotAllowed(
                    f"These pages tell what {type} and others say, which your role does not let you read; it"
                    " needs user/*.rs."
                )
        pairs = list(referrals)
        seen = self.sees(store, {name for pair in pairs for name in pair if name})
        missed = {patient for _, patient in pairs if patient and patient not in seen}
        barred = self._all(store, missed)
        return {referral for referral, patient in pairs if referral in seen and patient not in barred}

    def look(self, store: Store, referral: str, patient: str = "") -> None:
        """Raise NotFound, as if it were not there, unless they may see this referral and its patient."""
        if self.session is not None and not self.shown(store, [(referral, patient)]):
            raise NotFound(f"There is no referral {referral}.")

    @staticmethod
    def _all(store: Store, references: set[str]) -> frozenset[str]:
        """Those of the references that exist for anybody."""
        return seen(store, EVERYTHING, references) if references else frozenset()

    def is_recent(self, settings: Settings, now: datetime) -> bool:
        """Whether they proved who they are just now; so does whoever sits at the machine."""
        sign_in = settings.access.sign_in
        return self.session is None or (sign_in is not None and self.session.is_recent(now, sign_in))


ANYBODY: Final = Visitor()
"""Who sits at the machine, while nobody is asked who they are."""


NOTHING: Final = Rights("person", "")
"""Of somebody who has no role."""


class SignInAgain(NotAllowed):
    """Understood, and refused until the person has proven anew who they are."""

    def __init__(self, message: str, back: str) -> None:
        super().__init__(message)
        self.back = back
        """The page to come back to, with what was typed."""

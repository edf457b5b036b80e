"""The three people one can be in the demo, and what each may see and do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fhir_coprod.access_settings import AccessSettings, RoleSettings, SignInSettings
from fhir_coprod.demo.hospital import DEPARTMENTS, PERSON, PLACE
from fhir_coprod.demo.provider import CLIENT, Persona, providing
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.web.door import ANSWER, ENDED

PHYSICIAN_AT: Final = "orthopaedics"

PEOPLE: Final = (
    Persona(
        "coordinator",
        "Kristina Lund",
        "Coordinator: sees the referrals of all departments, takes alerts, joins records of one person.",
        {"roles": ["coordinator"], "departments": ["all"]},
    ),
    Persona(
        "physician",
        "Mikael Strand",
        f"Physician at {DEPARTMENTS[PHYSICIAN_AT]}: sees what came or went there, releases letters.",
        {"roles": ["physician"], "departments": [PHYSICIAN_AT]},
    ),
    Persona(
        "anna",
        "Anna Lindqvist",
        "Patient: sees her own referrals, what happens next and why.",
        {"person": "demo-anna"},
    ),
)

ROLES: Final = {
    "coordinator": RoleSettings(
        scopes=("user/*.rs", "user/Task.u", "user/Patient.u", "user/Communication.c")
    ),
    "physician": RoleSettings(scopes=("user/*.rs", "user/Task.u", "user/Communication.c")),
}


@contextmanager
def signing_in(store: Store, settings: Settings, address: str) -> Iterator[Settings]:
    """Runs the demo's provider until the block ends; yields the settings with which people sign in there.

    address: where the demo's pages are
    """
    with providing(PEOPLE, (address + ANSWER, address + ENDED)) as issuer:
        sign_in = SignInSettings(
            issuer=issuer,
            client_id=CLIENT,
            straight=True,
            roles_claim="roles",
            departments_claim="departments",
            departments={"all": "*", PHYSICIAN_AT: _organization(store, PHYSICIAN_AT)},
            patient_claim="person",
            patient_system=PERSON,
        )
        site = settings.site.model_copy(update={"base_url": f"{address}/fhir"})
        # The endpoint is as open as that of `serve` on this machine: the demo shows it, too.
        access = AccessSettings(required=False, sign_in=sign_in, roles=ROLES)
        yield settings.model_copy(update={"site": site, "access": access})


def _organization(store: Store, name: str) -> str:
    """A department of the demo as it is here."""
    found = store.search(Query.parse("Organization", [("identifier", f"{PLACE}|{name}")])).matches
    return f"Organization/{found[0].id}"

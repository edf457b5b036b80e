"""From a person to what they may do: by the provider's claims, and by what they were given here.

Whoever has different roles in different departments acts in one way at a time, and chooses which: a right in
one department must not reach another. So does a patient who also works here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from fhir_coprod.access.grants import Grant
from fhir_coprod.access.id_token import Claims
from fhir_coprod.access.rights import ALL_DEPARTMENTS, Rights
from fhir_coprod.access.scopes import read_scopes
from fhir_coprod.access.sessions import Person, Session
from fhir_coprod.access.words import inside
from fhir_coprod.access_settings import AccessSettings, SignInSettings
from fhir_coprod.errors import BadRequest, ConfigError, plain
from fhir_coprod.settings import Settings

MOST: Final = 500
"""Values of one claim that are looked at; some providers send every group of a person."""
PATIENT: Final = "patient"
"""The way to act of a patient; no role can be called so at the same time."""
PROXY: Final = "proxy"
"""How the way to act of a proxy begins; `:` and the id of the RelatedPerson follow."""
_PATIENTS: Final = ("patient/*.rs",)


class Acting(NamedTuple):
    """One way in which a person can act: some roles in some departments, or as the patient they are."""

    key: str
    roles: tuple[str, ...]
    departments: tuple[str, ...]


def check(settings: Settings) -> None:
    """Raise ConfigError if a role of the settings has a scope that cannot be read."""
    for name, role in settings.access.roles.items():
        try:
            read_scopes(role.scopes)
        except BadRequest as error:
            raise ConfigError(f"access.roles.{name}.scopes: {error.message}") from None


def person(
    settings: SignInSettings,
    claims: Claims,
    patient: str = "",
    related: tuple[str, ...] = (),
    practitioner: str = "",
) -> Person:
    """Who somebody is by their claims.

    patient: id of the Patient who it is, found by `patient_claim`
    related, practitioner: the ids in `related_person_claim` and `practitioner_claim`
    """
    shown = _text(claims.get(settings.name_claim)) or _text(claims.get("preferred_username")) or "somebody"
    roles = _mapped(settings.roles, values(claims, settings.roles_claim))
    departments = {
        settings.departments[value]: None
        for value in values(claims, settings.departments_claim)
        if value in settings.departments
    }
    return Person(
        *(f"{settings.issuer}|{claims['sub']}", plain(shown)[:100].strip(), roles, tuple(departments)),
        *(patient, related, practitioner),
    )


def values(claims: Claims, name: str) -> list[str]:
    """The texts of a claim; a dot in its name goes inside, unless there is a claim of just that name."""
    found = inside(claims, name) if name else None
    several = found if isinstance(found, list) else [found]
    return [each for each in several[:MOST] if isinstance(each, str) and each]


def _mapped(names: dict[str, str], said: Collection[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names[each] if names else each for each in said if not names or each in names))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def ways(settings: AccessSettings, person: Person, grants: Iterable[Grant]) -> list[Acting]:
    """The ways in which a person can act, the widest first; none if they have no role in any department."""
    held: dict[str, set[str]] = defaultdict(set)
    for department in person.departments:
        held[department].update(role for role in person.roles if role in settings.roles)
    for each in grants:
        if each.role in settings.roles:
            held[each.department].add(each.role)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    everywhere = held.get(ALL_DEPARTMENTS, set())
    for department, roles in sorted(held.items()):
        if roles and (department == ALL_DEPARTMENTS or not roles <= everywhere):
            alike[tuple(sorted(roles))].append(department)
    found = [Acting("+".join(roles), roles, tuple(where)) for roles, where in alike.items()]
    found.sort(key=lambda way: (ALL_DEPARTMENTS not in way.departments, -len(way.departments), way.key))
    if person.patient:
        found.append(Acting(PATIENT, (), ()))
    found += (Acting(f"{PROXY}:{id}", (), ()) for id in person.related)
    return found


def rights(settings: AccessSettings, session: Session, way: Acting) -> Rights:
    """What a person may do who acts in this way."""
    person = session.person
    if not way.roles:
        return Rights(
            "patient",
            person.name,
            read_scopes(_PATIENTS),
            patient=person.patient,
            session=session.label,
        )
    roles = [settings.roles[name] for name in way.roles]
    return Rights(
        "person",
        person.name,
        read_scopes(scope for role in roles for scope in role.scopes),
        departments=way.departments,
        cleared=frozenset(label for role in roles for label in role.cleared),
        session=session.label,
        practitioner=person.practitioner,
    )

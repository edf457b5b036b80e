"""What a patient could be told about a referral: a draft in plain words, for a person to read and release.

The words stand in catalogues (`fhir_coprod/_data/locale/LANGUAGE.po`), one entry for each event and stall; to
add a language is to add a file. A draft is a Communication in preparation: it never counts as having told the
patient. It names no specialty and no result.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from io import BytesIO
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date
from babel.messages.pofile import read_po

from fhir_coprod.errors import NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.watch import carriers
from fhir_coprod.watch.codes import STAFF_ONLY, Rule
from fhir_coprod.watch.standing import Standing, last_moment

_LOCALES = resources.files("fhir_coprod") / "_data" / "locale"
_TOPIC_SYSTEM: Final = f"{carriers.CANONICAL}/CodeSystem/communication-topic"
_TOPICS: Final[Mapping[str, str]] = {
    "accepted": "referral-accepted",
    "booked": "appointment-booked",
    "changed": "appointment-changed",
    "cancelled": "appointment-cancelled",
    "rejected": "referral-rejected",
    "result": "result",
    Rule.NO_SHOW_OPEN: "appointment-missed",
}
"""What each event is about; a stall is about a delay."""


def languages() -> tuple[str, ...]:
    """The languages there is a catalogue for, sorted."""
    names = (file.name for file in _LOCALES.iterdir())
    return tuple(sorted(name.removesuffix(".po") for name in names if name.endswith(".po")))


def subject(standing: Standing) -> str:
    """What to tell first: the gravest stall that is the patient's to know, else an event not told yet.

    "" when there is nothing to say.
    """
    for stall in carriers.gravest_first(standing.stalls):
        if stall.rule not in STAFF_ONLY and stall.rule is not Rule.PATIENT_NOT_INFORMED:
            return stall.rule
    return standing.untold


def text(standing: Standing, language: str) -> str:
    """The letter. Raises NotFound, naming the languages there are, when this one is missing."""
    words = _catalogue(language)
    about = subject(standing)
    if not about:
        raise NotFound("There is nothing about this referral that the patient has not been told.")
    parts = [words["greeting"], words[about]]
    stall = next((stall for stall in standing.stalls if stall.rule == about), None)
    zone = ZoneInfo(standing.zone)
    if stall is not None:
        day = format_date(stall.since.astimezone(zone).date(), "long", locale=language)
        parts.append(words["since"].format(date=day))
    if standing.guarantee is not None:
        day = format_date(last_moment(standing.guarantee).astimezone(zone).date(), "long", locale=language)
        parts.append(words["guarantee"].format(date=day))
    return "\n\n".join([*parts, words["question"]])


def communication(standing: Standing, language: str) -> Json:
    """The draft as a Communication (profile coproduction-communication) in preparation, no sender yet."""
    about = subject(standing)
    payload = text(standing, language)
    return {
        "resourceType": "Communication",
        "meta": {"profile": [f"{carriers.CANONICAL}/StructureDefinition/coproduction-communication"]},
        "language": language,
        "status": "preparation",
        "subject": carriers.reference(standing.patient),
        "topic": {"coding": [{"system": _TOPIC_SYSTEM, "code": _TOPICS.get(about, "delay")}]},
        "about": [carriers.reference(standing.referral)],
        "recipient": [carriers.reference(standing.patient)],
        "payload": [{"contentString": payload}],
    }


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    if language not in languages():
        raise NotFound(
            f"There are no words in {language!r} yet; there are {', '.join(languages())}. "
            f"Add a catalogue {language}.po."
        )
    catalogue = read_po(BytesIO((_LOCALES / f"{language}.po").read_bytes()), locale=language)
    return {str(message.id): str(message.string) for message in catalogue if message.id}

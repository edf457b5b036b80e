"""Drafts a letter that tells a patient about a referral in plain words, for a person to read and release.

The words come from catalogues (`locale/LANGUAGE.po`), with one entry for each event and stall; to add a
language, add a file. A draft is a Communication in preparation: it never counts as having told the patient.
It names no specialty and no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time

from fhir_coprod.definitions import CANONICAL, PROFILE
from fhir_coprod.errors import NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.letters.sender import Particulars, Sender
from fhir_coprod.watch.rules.codes import STAFF_ONLY, Rule
from fhir_coprod.watch.rules.standing import Standing, just_before

_LOCALES = files("fhir_coprod") / "_data" / "locale"
_TOPIC_SYSTEM: Final = f"{CANONICAL}/CodeSystem/communication-topic"
_TOPICS: Final[Mapping[str, str]] = {
    "accepted": "referral-accepted",
    "booked": "appointment-booked",
    "changed": "appointment-changed",
    "cancelled": "appointment-cancelled",
    "rejected": "referral-rejected",
    "advice": "result",
    "result": "result",
    Rule.NO_SHOW_OPEN: "appointment-missed",
}
"""The topic of a letter about each event; any other stall is a delay."""
_OF_A_VISIT: Final = frozenset({Rule.NO_SHOW_OPEN, Rule.APPOINTMENT_PASSED})
"""Stalls that begin with a visit: the letter names the day of the visit."""
_UNDATED: Final = frozenset({Rule.BOOKED_TOO_LATE})
"""Stalls whose beginning means nothing to the patient."""

_OF_A_BOOKING: Final = frozenset({"accepted", "booked", "changed", Rule.BOOKED_TOO_LATE})
"""Subjects for which a letter must say when the visit is, if one is booked."""
_DATES: Final = {"en": "en_GB"}
"""The locale for dates if a language has several forms: 2 March 2026, as everywhere here."""
_GAP: Final = "____________________"
"""Printed for what the record does not know; the person who releases the letter writes it in."""
_NOTHING_KNOWN: Final = Particulars()


def languages() -> tuple[str, ...]:
    """The languages that have a catalogue, sorted."""
    names = (file.name for file in _LOCALES.iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in names))


def subjects(standing: Standing) -> tuple[str, ...]:
    """All there is to tell the patient: the stalls that patients are told about, gravest first, and then the
    event that they have not been told about yet. Nothing to the deceased."""
    if standing.deceased is not None:
        return ()
    stalls = [
        stall.rule.value
        for stall in resources.gravest_first(standing.stalls)
        if stall.rule not in STAFF_ONLY and stall.rule is not Rule.PATIENT_NOT_INFORMED
    ]
    return tuple(dict.fromkeys([*stalls, *([standing.untold] if standing.untold else [])]))


def known(language: str) -> str:
    """The catalogue for a language as people or resources write it: `sv` for sv-SE.

    Raises NotFound if there is none, with the languages that there are.
    """
    plain = language.replace("_", "-").partition("-")[0].lower()
    if plain not in languages():
        raise NotFound(
            f"There are no words in {language!r} yet; there are {', '.join(languages())}. "
            f"Add a catalogue locale/{plain or 'LANGUAGE'}.po."
        )
    return plain


def language_name(language: str) -> str:
    """The English name of a language that a record names by its code; the code itself if nobody knows it."""
    try:
        return Locale.parse(language.replace("-", "_")).get_display_name("en") or language
    except (UnknownLocaleError, ValueError):
        return language


def needs_interpreter(language: str) -> str:
    """What a nurse has to know if there are no words in the patient's language; "" if there are."""
    if not language:
        return "The record does not say which language the patient reads."
    try:
        known(language)
    except NotFound:
        name = language_name(language)
        return f"The patient reads {name}, and there are no words in that language: an interpreter is needed."
    return ""


def preferred(patient: Json) -> str:
    """The language that a Patient prefers, or else the first one named; "" if none is."""
    spoken = patient.get("communication") or []
    for one in sorted(spoken, key=lambda one: one.get("preferred") is not True):
        for coding in (one.get("language") or {}).get("coding") or ():
            if coding.get("code"):
                return str(coding["code"])
    return ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter to a patient, in plain words."""

    language: str
    about: str
    """The rule or event that it tells about."""
    heading: str
    paragraphs: tuple[str, ...]
    regards: str
    reference: str
    """The label of the reference below the letter."""
    day: str
    """The date of the letter, as people write it in that language."""
    contact: tuple[str, ...]
    """The sender and how to reach them, line by line, with a gap for what the record does not know."""


def draft(
    standing: Standing,
    language: str,
    day: date,
    about: str = "",
    known_of: Particulars = _NOTHING_KNOWN,
    *,
    can_write_in: bool = True,
) -> Draft:
    """The letter about one thing; without `about`, about the first of `subjects`.

    known_of:     what the record says about the sender and the visit.
    can_write_in: somebody fills in by hand what the record does not know; otherwise it asks nobody to call a
                  number that is not there.

    Raises NotFound if there is nothing to tell, nothing about `about`, or no catalogue for the language.
    """
    language = known(language)
    words = _catalogue(language)
    told = subjects(standing)
    if standing.deceased is not None:
        raise NotFound("The patient has died: no letter goes out. The department ends the referral.")
    if not told:
        raise NotFound("There is nothing about this referral that the patient has not been told.")
    about = about or told[0]
    if about not in told:
        raise NotFound(f"There is nothing to tell the patient about {about!r}; there is {', '.join(told)}.")
    parts = [words["greeting"], words[about]]
    stall = next((stall for stall in standing.stalls if stall.rule == about), None)
    zone = ZoneInfo(standing.zone)
    if stall is not None and stall.rule not in _UNDATED:
        frame = words["visit" if stall.rule in _OF_A_VISIT else "since"]
        parts.append(frame.format(date=_day(stall.since.astimezone(zone).date(), language)))
    if about in _OF_A_BOOKING and known_of.visit is not None:
        start = known_of.visit.start.astimezone(zone)
        when = {"date": _day(start.date(), language), "time": _clock(start.time(), language)}
        parts.append(words["appointment"].format(**when))
        parts.append(f"{words['place']}: {known_of.visit.place or _GAP}")
    if about == "accepted" and known_of.visit is None:
        parts.append(words["time-follows"])
    if standing.guarantee is not None:
        by = just_before(standing.guarantee).astimezone(zone).date()
        parts.append(words["guarantee"].format(date=_day(by, language)))
    if can_write_in or known_of.sender.phone or known_of.sender.email:
        parts.append(words["question"])
    parts.append(words["worse"])
    return Draft(
        language,
        about,
        words["heading"],
        tuple(parts),
        words["regards"],
        words["reference"],
        _day(day, language),
        _contact(known_of.sender, words),
    )


def _contact(sender: Sender, words: Mapping[str, str]) -> tuple[str, ...]:
    return (
        sender.name or f"{words['sender']}: {_GAP}",
        *sender.address,
        f"{words['telephone']}: {sender.phone or _GAP}",
        *([sender.email] if sender.email else []),
    )


def _day(day: date, language: str) -> str:
    return format_date(day, "long", locale=_DATES.get(language, language))


def _clock(at: time, language: str) -> str:
    return format_time(at, "short", locale=_DATES.get(language, language))


def signed(standing: Standing, language: str, about: str, known_of: Particulars) -> str:
    """The text of a letter, and below it the sender and how to reach them."""
    letter = draft(standing, language, date.min, about, known_of)
    return "\n\n".join([*letter.paragraphs, letter.regards, "\n".join(letter.contact)])


def communication(
    standing: Standing,
    language: str,
    about: str = "",
    recipient: str = "",
    known_of: Particulars = _NOTHING_KNOWN,
) -> Json:
    """The draft as a Communication (profile coproduction-communication) in preparation, without a sender yet.

    It is for staff only until a person releases it.

    recipient: a relative who gets it instead of the patient.
    """
    letter = draft(standing, language, date.min, about, known_of, can_write_in=False)
    told = [*letter.paragraphs, "\n".join(letter.contact)]
    return {
        "resourceType": "Communication",
        "meta": {
            "profile": [f"{PROFILE}coproduction-communication"],
            "security": [resources.STAFF_ONLY],
        },
        "language": letter.language,
        "status": "preparation",
        "subject": resources.reference(standing.patient),
        "topic": {"coding": [{"system": _TOPIC_SYSTEM, "code": _TOPICS.get(letter.about, "delay")}]},
        "about": [resources.reference(standing.referral)],
        "recipient": [resources.reference(recipient or standing.patient)],
        "payload": [{"contentString": "\n\n".join(_without_gaps(told))}],
    }


def _without_gaps(paragraphs: Iterable[str]) -> Iterator[str]:
    """The paragraphs without lines that have a gap: nobody can fill one in by hand in a record."""
    for paragraph in paragraphs:
        lines = [line for line in paragraph.split("\n") if _GAP not in line]
        if lines:
            yield "\n".join(lines)


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    return msgspec.json.decode((_LOCALES / f"{language}.json").read_bytes(), type=dict[str, str])

"""Releases a letter to a patient: a person has read it, and from then on the patient counts as told.

No letter is ever released without a person. The Communication, and the follow-up that asked for it, say who
released what, and when.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5
from zoneinfo import ZoneInfo

from fhir_coprod import jsontext
from fhir_coprod.definitions import CANONICAL
from fhir_coprod.errors import NotAllowed, NotFound
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Query, Store, Transaction
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts.reader import Reader, gather
from fhir_coprod.watch.letters import drafts, sender
from fhir_coprod.watch.record.fhir import moment, split
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing

FALLBACK: Final = "en"
"""The language of a letter if the record names none."""
SAME_LETTER: Final = timedelta(minutes=10)
"""A letter about the same thing to the same person within this time is the same letter: a form posted
twice, or two colleagues at once."""
_LETTER: Final = f"{CANONICAL}/letter"
"""The system of the identifier that says what a letter is about: referral, cause and recipient."""
_WRITTEN: Final[Json] = {
    "coding": [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "code": "WRITTEN"},
    ]
}


def language_of(store: Store, settings: Settings, standing: Standing) -> str:
    """The language that the patient prefers, from the record; "" if it names none."""
    with store.connect() as connection:
        reader = Reader(connection, settings)
        return next(
            (drafts.preferred(row.data) for row in reader.by_reference({split(standing.patient)})), ""
        )


def release(
    store: Store,
    settings: Settings,
    policy: Policy,
    referral: str,
    by: str,
    now: datetime,
    *,
    language: str,
    about: str = "",
    to: str = "",
) -> Json:
    """Write the completed Communication that tells the patient; a person has read it and sends it now.

    referral: as in `gather`.
    by:       the name of the person who releases it.
    language: the language of the letter.
    about:    the rule or event that it tells about; "" for the first of `drafts.subjects`.
    to:       a relative (RelatedPerson/id) who gets it instead of the patient.

    The same letter released again within SAME_LETTER is the one that is there already.

    Raises NotAllowed if nobody is named, if the patient asked not to be contacted, or if `to` is no active
    relative of the patient or wants no messages; NotFound if there is nothing to tell (as to the deceased),
    or there are no words in that language.
    """
    if not by.strip():
        raise NotAllowed("Say who: a letter is released by name.")
    policy = policy.at(settings.site)
    known = gather(store, referral, settings, pulled_since=policy.pulled_since(now))
    standing = assess(known, policy, now)
    if standing.do_not_contact:
        raise NotAllowed(
            "The patient asked not to be contacted: talk it over with whoever knows them; nothing is sent."
        )
    if to and to not in known.proxies:
        raise NotAllowed(f"{to} is no active relative of this patient on record; leave it out.")
    recent = [one for one in letters_sent(store, standing.referral) if abs(now - one.at) <= SAME_LETTER]
    told = [one.data for one in recent if one.about == about or not (about or drafts.subjects(standing))]
    if told and told[0]["recipient"] == [resources.reference(to or standing.patient)]:
        return told[0]
    if to in known.silent:
        raise NotAllowed(f"No messages are to go to {to}: talk it over with the patient; nothing is sent.")
    known_of = sender.particulars(store, settings, standing, now)
    letter = _released(standing, language, about, to, by.strip(), now, known_of)
    if needed := drafts.needs_interpreter(language_of(store, settings, standing)):
        letter["note"][0]["text"] += f" {needed}"

    def write(transaction: Transaction) -> Json:
        transaction.lock()
        for there in _same(transaction, letter):
            if abs(now - there.at) <= SAME_LETTER:
                return there.data
        transaction.put(jsontext.from_data(letter), letter["id"])
        for task in Reader(transaction.connection, settings).followups_of(standing.referral):
            if resources.is_open(task):
                words = f"Released a letter to the patient (Communication/{letter['id']})."
                noted = resources.touched(resources.noted(task, by.strip(), words, now), now)
                transaction.put(jsontext.from_data(noted), noted["id"])
        return letter

    return store.write(write)


def _released(
    standing: Standing,
    language: str,
    about: str,
    to: str,
    by: str,
    now: datetime,
    known_of: sender.Particulars,
) -> Json:
    letter = drafts.communication(standing, language, about, to, known_of)
    told = about or drafts.subjects(standing)[0]
    reached = letter["recipient"][0]["reference"]
    cause = f"{standing.referral}/{told}/{reached}"
    letter["id"] = str(uuid5(NAMESPACE_URL, f"{cause}/{instant(now)}"))
    letter["identifier"] = [{"system": _LETTER, "value": cause}]
    letter["meta"] = {"profile": letter["meta"]["profile"]}
    letter["status"] = "completed"
    letter["medium"] = [_WRITTEN]
    letter["sent"] = instant(now)
    letter["sender"] = {"reference": sender.sender_of(standing)}
    letter["note"] = [{"authorString": by, "time": instant(now), "text": "Read and released."}]
    return letter


class Sent(NamedTuple):
    """A letter that went out."""

    at: datetime
    by: str
    """Who released it."""
    about: str
    """The rule or event that it tells about."""
    data: Json


def letters_sent(store: Store, referral: str) -> list[Sent]:
    """The letters about a referral that went out, the newest first."""
    query = Query.parse("Communication", [("about", referral), ("_count", "500")])
    return _sent(version.data for version in store.search(query).matches)


def _same(transaction: Transaction, letter: Json) -> list[Sent]:
    """The letters about the same thing to the same person, the newest first."""
    value = f"{_LETTER}|{letter['identifier'][0]['value']}"
    page = transaction.search(Query.parse("Communication", [("identifier", value), ("_count", "50")]))
    return _sent(version.data for version in page.matches)


def _sent(letters: Iterable[Json]) -> list[Sent]:
    found = []
    for data in letters:
        causes = [one["value"] for one in data.get("identifier") or () if one.get("system") == _LETTER]
        at = moment(data.get("sent"), ZoneInfo("UTC"))
        if causes and data.get("status") == "completed" and at is not None:
            by = next((str(note.get("authorString", "")) for note in data.get("note") or ()), "")
            found.append(Sent(at, by, causes[0].split("/")[2], data))
    return sorted(found, key=lambda sent: sent.at, reverse=True)


def take_back(store: Store, letter: str, by: str, now: datetime) -> Json:
    """Mark a letter as entered in error: it did not go out after all, and the patient was not told.

    letter: the id of the Communication.

    Raises NotAllowed if nobody is named, NotFound if no such letter is on record as sent.
    """
    if not by.strip():
        raise NotAllowed("Say who: a letter is taken back by name.")

    def write(transaction: Transaction) -> Json:
        transaction.lock()
        held = transaction.get("Communication", letter)
        if held is None or held.deleted or not _sent([held.data]):
            raise NotFound("No such letter is on record as sent.")
        note = {"authorString": by.strip(), "time": instant(now), "text": "Taken back: it did not go out."}
        notes = [*(held.data.get("note") or ()), note]
        wrong = {**held.data, "status": "entered-in-error", "note": notes}
        transaction.put(jsontext.from_data(wrong), letter)
        return wrong

    return store.write(write)


def chosen_language(store: Store, settings: Settings, standing: Standing, wanted: str = "") -> str:
    """The language of a letter: `wanted`, or else the patient's, or else English.

    Raises NotFound if there are no words in that language, with the languages that there are.
    """
    language = wanted or language_of(store, settings, standing) or FALLBACK
    try:
        return drafts.known(language)
    except NotFound as error:
        if wanted:
            raise
        raise NotFound(
            f"{drafts.needs_interpreter(language)} Choose another for the letter: "
            f"{', '.join(drafts.languages())}."
        ) from error

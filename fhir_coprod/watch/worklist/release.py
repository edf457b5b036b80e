"""Releases a letter to a patient: a person has read it, and from then on the patient counts as told.

No letter is ever released without a person. The Communication, and the follow-up that asked for it, say who
released what, and when.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from fhir_coprod import jsontext
from fhir_coprod.errors import NotAllowed, NotFound
from fhir_coprod.instants import instant
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts.reader import Reader, gather
from fhir_coprod.watch.letters import drafts, sender
from fhir_coprod.watch.record.fhir import split
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Standing

FALLBACK: Final = "en"
"""The language of a letter if the record names none."""
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

    Raises NotAllowed if nobody is named, if the patient asked not to be contacted, or if `to` is no active
    relative of the patient; NotFound if there is nothing to tell, or there are no words in that language.
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
    known_of = sender.particulars(store, settings, standing, now)
    letter = _released(standing, language, about, to, by.strip(), now, known_of)

    def write(transaction: Transaction) -> Json:
        transaction.lock()
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
    letter["id"] = str(uuid5(NAMESPACE_URL, f"{standing.referral}/{told}/{instant(now)}"))
    letter["meta"] = {"profile": letter["meta"]["profile"]}
    letter["status"] = "completed"
    letter["medium"] = [_WRITTEN]
    letter["sent"] = instant(now)
    letter["sender"] = {"reference": sender.sender_of(standing)}
    letter["note"] = [{"authorString": by, "time": instant(now), "text": "Read and released."}]
    return letter


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
        raise NotFound(f"{error.message} It is the patient's language; an interpreter can help.") from None

"""The page of one referral and its letters: what it says, what its forms do, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette

from fhir_coprod.settings import Settings, SiteSettings, StoreSettings
from fhir_coprod.store import Store
from fhir_coprod.watch.letters import drafts
from fhir_coprod.web import routes
from tests.watch.hospital import DAY, Hospital

LONG_AGO = datetime.now(UTC) - 40 * DAY
PAGE = "/referral/ServiceRequest/late"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=StoreSettings(url=f"sqlite:///{tmp_path / 'coprod.db'}"),
        site=SiteSettings(timezone="Europe/Stockholm"),
    )


@pytest.fixture
def hospital(settings: Settings) -> Iterator[Hospital]:
    with Store.open(settings.store.url) as store:
        hospital = Hospital(store)
        hospital.refer("late", authored=LONG_AGO)
        hospital.put(
            {
                "resourceType": "Patient",
                "id": "of-late",
                "name": [{"given": ["Anna"], "family": "Berg"}],
                "communication": [
                    {
                        "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "sv-SE"}]},
                        "preferred": True,
                    }
                ],
            },
            {"resourceType": "Organization", "id": "ortho", "name": "Orthopaedics"},
        )
        hospital.sweep(datetime.now(UTC))
        yield hospital


def ask(
    hospital: Hospital,
    settings: Settings,
    path: str,
    form: dict[str, str] | None = None,
    **headers: str,
) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=routes(hospital.store, settings)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            if form is None:
                return await client.get(path, headers=headers)
            return await client.post(path, data=form, headers=headers)

    return anyio.run(go)


def speak(hospital: Hospital, code: str) -> None:
    hospital.put(
        {
            "resourceType": "Patient",
            "id": "of-late",
            "name": [{"given": ["Anna"], "family": "Berg"}],
            "communication": [{"language": {"coding": [{"code": code}]}}],
        }
    )


def letters(hospital: Hospital) -> list[dict[str, Any]]:
    return [one for one in hospital.all("Communication") if one["status"] == "completed"]


def test_page_says_what_is_missing_who_can_move_it_and_whether_the_patient_knows(
    hospital: Hospital, settings: Settings
) -> None:
    page = ask(hospital, settings, PAGE)
    assert page.status_code == 200
    assert "Anna Berg" in page.text
    assert "Word from the department that it has received the referral" in page.text
    assert "<b>Orthopaedics</b> can move it" in page.text
    assert "Guarantee date" in page.text
    assert "has not been told" in page.text
    assert "Organization/ortho" not in page.text, "names, not references"


def test_board_leads_to_the_page(hospital: Hospital, settings: Settings) -> None:
    assert f'href="{PAGE}"' in ask(hospital, settings, "/").text


def test_acknowledging_is_noted_by_name(hospital: Hospital, settings: Settings) -> None:
    answer = ask(hospital, settings, f"{PAGE}/acknowledge", {"by": "Kim Ek", "note": "I call them"})
    assert (answer.status_code, answer.headers["location"]) == (303, PAGE)
    [task] = hospital.followups("accepted")
    assert task["note"][-1]["authorString"] == "Kim Ek"
    page = ask(hospital, settings, PAGE).text
    assert "Somebody has it" in page
    assert "Kim Ek: I call them" in page


def test_snoozing_ends_with_the_day_that_was_named(hospital: Hospital, settings: Settings) -> None:
    until = (datetime.now(UTC) + 3 * DAY).date()
    answer = ask(hospital, settings, f"{PAGE}/snooze", {"by": "Kim Ek", "until": until.isoformat()})
    assert answer.status_code == 303
    [task] = hospital.followups("on-hold")
    end = datetime.fromisoformat(task["restriction"]["period"]["end"])
    assert (
        timedelta(0)
        <= datetime.combine(until + DAY, datetime.min.time(), UTC) - end
        <= 3 * timedelta(hours=1)
    )


@pytest.mark.parametrize(
    ("path", "form", "status", "said"),
    [
        ("acknowledge", {"by": " "}, 403, "Say who"),
        ("snooze", {"by": "Kim", "until": "2126-01-01"}, 403, "at the latest"),
        ("snooze", {"by": "Kim", "until": "soon"}, 400, "Until when?"),
        ("snooze", {"by": "Kim", "until": "9999-12-31"}, 400, "Until when?"),
        ("letter", {"by": "", "language": "sv"}, 403, "Say who"),
        ("letter", {"by": "Kim", "language": "xx"}, 404, "There are no words in"),
        ("letter", {"by": "Kim", "language": "sv", "about": "duplicate"}, 404, "nothing to tell"),
    ],
)
def test_what_cannot_be_done_is_said_on_the_page(
    hospital: Hospital, settings: Settings, path: str, form: dict[str, str], status: int, said: str
) -> None:
    before = hospital.head()
    answer = ask(hospital, settings, f"{PAGE}/{path}", form)
    assert answer.status_code == status
    assert said in answer.text
    assert 'role="alert"' in answer.text
    assert hospital.head() == before


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}, {"origin": "null"}],
)
def test_a_form_on_another_site_does_nothing(
    hospital: Hospital, settings: Settings, headers: dict[str, str]
) -> None:
    before = hospital.head()
    answer = ask(hospital, settings, f"{PAGE}/acknowledge", {"by": "Kim"}, **headers)
    assert answer.status_code == 403
    assert hospital.head() == before


def test_a_form_of_our_own_page_is_taken(hospital: Hospital, settings: Settings) -> None:
    own = {"sec-fetch-site": "same-origin", "origin": "http://localhost"}
    assert ask(hospital, settings, f"{PAGE}/acknowledge", {"by": "Kim"}, **own).status_code == 303


def test_too_long_a_form_is_refused(hospital: Hospital, settings: Settings) -> None:
    answer = ask(hospital, settings, f"{PAGE}/acknowledge", {"by": "Kim", "note": "x" * 20_000})
    assert answer.status_code == 413


def test_no_referral_is_said_plainly(hospital: Hospital, settings: Settings) -> None:
    for path in ("/referral/ServiceRequest/nobody", "/referral/Patient/of-late", "/referral/Task/x/letter"):
        answer = ask(hospital, settings, path)
        assert answer.status_code == 404
        assert "There is no referral" in answer.text


def test_a_closed_referral_says_so(hospital: Hospital, settings: Settings) -> None:
    hospital.task("late", "completed", LONG_AGO + DAY)
    hospital.tell("late", datetime.now(UTC))
    hospital.put(
        {
            "resourceType": "ServiceRequest",
            "id": "late",
            "status": "completed",
            "intent": "order",
            "subject": {"reference": "Patient/of-late"},
            "authoredOn": LONG_AGO.isoformat(),
        }
    )
    answer = ask(hospital, settings, PAGE)
    assert answer.status_code == 404
    assert "is closed" in answer.text


# -- letters -----------------------------------------------------------------------------------------------


def test_letter_is_in_the_patients_language_and_says_so_to_screen_readers(
    hospital: Hospital, settings: Settings
) -> None:
    page = ask(hospital, settings, f"{PAGE}/letter").text
    assert '<html lang="sv">' in page
    assert "Din remiss är skickad" in page
    assert '<aside class="desk" lang="en"' in page
    assert "Orthopaedics" not in page.partition("<main")[2], "a letter names no specialty"


def booked(hospital: Hospital, *, told: bool = True, **location: Any) -> None:
    """A visit on 1 December 2126 at 10 in Stockholm, of which the patient was not told.

    told: that the referral was accepted, they were.
    """
    hospital.put(
        {"resourceType": "Location", "id": "there", **location},
        {
            "resourceType": "Appointment",
            "id": "booked",
            "status": "booked",
            "created": (LONG_AGO + 2 * DAY).isoformat(),
            "start": "2126-12-01T09:00:00Z",
            "end": "2126-12-01T09:30:00Z",
            "basedOn": [{"reference": "ServiceRequest/late"}],
            "participant": [
                {"actor": {"reference": "Location/there"}, "status": "accepted"},
                {"actor": {"reference": "Patient/of-late"}, "status": "accepted"},
            ],
        },
    )
    hospital.task("late", "accepted", LONG_AGO + DAY)
    if told:
        hospital.tell("late", LONG_AGO + timedelta(hours=25))


CENTRE = {
    "resourceType": "Organization",
    "id": "hospital",
    "name": "County Hospital",
    "address": [{"line": ["Sjukhusvägen 1"], "postalCode": "123 45", "city": "Staden"}],
    "telecom": [{"system": "phone", "value": "010-111 11 11"}],
}


def test_a_letter_says_who_writes_and_how_to_reach_them_but_names_no_specialty(
    hospital: Hospital, settings: Settings
) -> None:
    """The department's own number; name and address of the hospital it is part of."""
    hospital.put(
        CENTRE,
        {
            "resourceType": "Organization",
            "id": "ortho",
            "name": "Orthopaedics",
            "partOf": {"reference": "Organization/hospital"},
            "telecom": [
                {"system": "phone", "value": "010-999 99 99", "use": "old"},
                {"system": "phone", "value": "010-222 22 22", "rank": 2},
                {"system": "phone", "value": "010-333 33 33", "rank": 1},
            ],
        },
    )
    page = ask(hospital, settings, f"{PAGE}/letter").text
    sheet = page.partition("<main")[2]
    assert "County Hospital<br>Sjukhusvägen 1<br>123 45 Staden<br>Telefon: 010-333 33 33" in sheet
    assert "Orthopaedics" not in sheet
    assert "____" not in page
    ask(hospital, settings, f"{PAGE}/letter", {"by": "Kim Ek", "language": "sv"})
    [sent] = letters(hospital)
    assert sent["payload"][0]["contentString"].endswith("123 45 Staden\nTelefon: 010-333 33 33")


def test_what_the_record_does_not_know_is_a_gap_in_the_letter_and_no_invention(
    hospital: Hospital, settings: Settings
) -> None:
    page = ask(hospital, settings, f"{PAGE}/letter").text
    assert re.search(r'class="from">Från: _{8,}<br>Telefon: _{8,}</address>', page)
    assert "write it into the gaps by hand" in page
    ask(hospital, settings, f"{PAGE}/letter", {"by": "Kim Ek", "language": "sv"})
    [sent] = letters(hospital)
    assert "_" not in sent["payload"][0]["contentString"], "nobody writes by hand into a record"


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (
            {"name": "Orthopaedic outpatients", "address": {"line": ["Sjukhusvägen 1"], "city": "Staden"}},
            None,
        ),
        (
            {
                "name": "Building B, floor 2",
                "physicalType": {"coding": [{"code": "lvl"}]},
                "address": {"line": ["Sjukhusvägen 1"], "city": "Staden"},
            },
            "Building B, floor 2, ",
        ),
    ],
)
def test_a_letter_about_a_booking_names_day_time_and_place(
    hospital: Hospital, settings: Settings, location: dict[str, Any], place: str | None
) -> None:
    booked(hospital, **location)
    page = ask(hospital, settings, f"{PAGE}/letter?about=booked&language=en").text
    assert "Your visit is on 1 December 2126 at 10:00." in page
    assert f"Place: {place or ''}Sjukhusvägen 1, Staden" in page
    assert "Orthopaedic" not in page.partition("<main")[2]
    swedish = ask(hospital, settings, f"{PAGE}/letter?about=booked&language=sv").text
    assert "Besöket är den 1 december 2126 klockan 10:00." in swedish


def test_who_has_a_time_is_not_told_that_one_will_come(hospital: Hospital, settings: Settings) -> None:
    booked(hospital, told=False)
    page = ask(hospital, settings, f"{PAGE}/letter?about=accepted&language=en").text
    assert "Your visit is on 1 December 2126 at 10:00." in page
    assert "We will send you a time" not in page


def test_letters_are_offered_in_words_with_their_day(hospital: Hospital, settings: Settings) -> None:
    page = ask(hospital, settings, PAGE).text
    offered = re.findall(r'letter\?about=([\w-]+)">([^<]+)</a>', page)
    assert dict(offered)["unacknowledged"].startswith("Still missing: word from the department")
    assert all(re.search(r"\((since|on) \d+ \w+ \d{4}\)$", words) for _, words in offered)
    booked(hospital)
    page = ask(hospital, settings, PAGE).text
    assert re.search(r'about=booked">A visit was booked \(on \d+ \w+ \d{4}\)</a>', page)


def test_a_language_without_words_is_said_and_another_offered(hospital: Hospital, settings: Settings) -> None:
    speak(hospital, "ar")
    page = ask(hospital, settings, f"{PAGE}/letter").text
    assert (
        "The patient reads Arabic, and there are no words in that language: an interpreter is needed." in page
    )
    assert "interpreter" in page
    assert '<html lang="en">' in page


def test_releasing_tells_the_patient_and_says_who_did(hospital: Hospital, settings: Settings) -> None:
    answer = ask(hospital, settings, f"{PAGE}/letter", {"by": "Kim Ek", "language": "sv"})
    assert answer.status_code == 303
    [letter] = letters(hospital)
    assert letter["recipient"] == [{"reference": "Patient/of-late"}]
    assert letter["note"][0]["authorString"] == "Kim Ek"
    assert letter["sender"] == {"reference": "Organization/ortho"}
    assert "security" not in letter["meta"], "the patient may see it"
    [task] = hospital.followups()
    assert "Released a letter" in task["note"][-1]["text"]
    page = ask(hospital, settings, PAGE).text
    assert "has been told" in page


def test_whoever_asked_for_silence_gets_no_letter(hospital: Hospital, settings: Settings) -> None:
    hospital.put(
        {
            "resourceType": "CommunicationRequest",
            "id": "silence",
            "status": "active",
            "doNotPerform": True,
            "subject": {"reference": "Patient/of-late"},
        }
    )
    page = ask(hospital, settings, f"{PAGE}/letter").text
    assert "asked not to be contacted" in page
    assert "<form" not in page
    answer = ask(hospital, settings, f"{PAGE}/letter", {"by": "Kim", "language": "sv"})
    assert answer.status_code == 403
    assert letters(hospital) == []


@pytest.mark.parametrize("path", ["", "/letter"])
def test_pages_are_sane_for_keyboard_and_screen_reader(
    hospital: Hospital, settings: Settings, path: str
) -> None:
    """One main, one h1, headings in order, every field labelled, nothing that needs a script."""
    page = ask(hospital, settings, PAGE + path).text
    assert re.search(r'<html lang="\w+">', page)
    assert page.count("<main") == page.count("<h1") == 1
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    fields = re.findall(r'<input(?![^>]*type="hidden")[^>]*id="([\w-]+)"', page)
    assert fields
    assert set(fields) == set(re.findall(r'<label for="([\w-]+)"', page))
    assert len(fields) == len(re.findall(r'<input(?![^>]*type="hidden")', page))
    assert "<script" not in page
    assert " style=" not in page
    assert "tabindex" not in page


def test_every_field_fits_a_letter(hospital: Hospital, settings: Settings) -> None:
    for language in drafts.languages():
        page = ask(hospital, settings, f"{PAGE}/letter?language={language}")
        assert page.status_code == 200
        assert "{" not in page.text.partition("<main")[2]

"""The glass is broken by a person, for one patient and one hour; a private moment stays one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fhir_coprod.access import glass, sessions
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.sessions import Person, Session
from fhir_coprod.access_settings import SignInSettings
from fhir_coprod.errors import BadRequest, Conflict, NotAllowed, NotFound
from fhir_coprod.store.schema.sign_in import glass as table
from tests.access.callers import CALLERS
from tests.access.conftest import Hospital
from tests.access.hospital import observation, order
from tests.access.test_objections import found, put, refusal, sees

NOW = datetime.now(UTC)
A = CALLERS["person of A"]
SIGN_IN = SignInSettings(issuer="https://login.test", client_id="pages")


def signed_in(hospital: Hospital, subject: str = "7") -> Session:
    id = sessions.begin(hospital.store, SIGN_IN, Person(f"https://login.test|{subject}", "Nadia"), NOW)
    with hospital.store.connect() as connection:
        found = sessions.find(connection, SIGN_IN, id, NOW)
    assert found is not None
    return found


def through(hospital: Hospital, session: Session, rights: Rights = A, after: float = 0) -> Rights:
    with hospital.store.connect() as connection:
        return glass.with_glass(connection, rights, session, NOW + timedelta(minutes=after))


def broken(hospital: Hospital, session: Session, patient: str = "p4") -> Rights:
    glass.begin(hospital.store, A, session, patient, "ETREAT", "found on the floor", NOW)
    return through(hospital, session)


def test_it_opens_the_record_of_one_patient_to_be_read(changing: Hospital, head: Callable[[], int]) -> None:
    session = signed_in(changing)
    for name in ("Patient/p4", "Observation/o4", "ServiceRequest/s14"):
        assert not sees(changing, A, name)
    own = broken(changing, session)
    for name in ("Patient/p4", "Observation/o4", "ServiceRequest/s14"):
        assert sees(changing, own, name)
    assert not sees(changing, own, "Observation/o5")
    assert "Observation/o4" in found(changing, own, "Observation?patient=Patient/p4")
    before = head()
    for data in (
        {"resourceType": "Observation", **observation("Patient/p4")},
        {"resourceType": "ServiceRequest", **order("Patient/p4", "Organization/A")},
    ):
        assert changing.ask(own, "POST", data["resourceType"], data).status == 403
    assert head() == before


def test_it_lifts_what_the_patient_refuses(changing: Hospital) -> None:
    put(changing, "no", refusal("Patient/p4"))
    assert sees(changing, broken(changing, signed_in(changing)), "Observation/o4")


def test_labels_hold_and_a_private_moment_stays_private(changing: Hospital) -> None:
    own = broken(changing, signed_in(changing), "p1")
    assert not sees(changing, own, "Observation/oV")
    cleared = replace(own, cleared=frozenset(("V", "NOAUTH")))
    assert sees(changing, cleared, "Observation/oV")
    stranger = replace(cleared, departments=("Organization/none",))
    assert sees(changing, stranger, "Observation/oV")
    assert not sees(changing, stranger, "Observation/oNOAUTH")


def test_it_ends_after_an_hour_with_the_sign_in_or_when_it_is_closed(changing: Hospital) -> None:
    session = signed_in(changing)
    assert broken(changing, session).glass == "p4"
    assert through(changing, session, after=59.9).glass == "p4"
    assert through(changing, session, after=60).glass == ""
    assert through(changing, signed_in(changing)).glass == ""
    assert through(changing, signed_in(changing, "8")).glass == ""
    glass.end(changing.store, session, NOW)
    assert through(changing, session).glass == ""


def test_another_patient_takes_the_place_of_the_first(changing: Hospital) -> None:
    session = signed_in(changing)
    broken(changing, session)
    own = broken(changing, session, "p5")
    assert own.glass == "p5"
    assert not sees(changing, own, "Observation/o4")


@pytest.mark.parametrize("who", ["patient p1", "proxy of p1", "program", "local"])
def test_only_the_staff_breaks_it(changing: Hospital, who: str) -> None:
    session = signed_in(changing)
    with pytest.raises(NotAllowed):
        glass.begin(changing.store, CALLERS[who], session, "p4", "BTG", "x", NOW)
    broken(changing, session)
    assert through(changing, session, CALLERS[who]).glass == ""
    assert not sees(changing, replace(CALLERS["proxy of p1"], glass="p4"), "Observation/o4")


def test_it_needs_a_reason_and_words(changing: Hospital) -> None:
    session = signed_in(changing)
    for reason, note in (("", "x"), ("CURIOSITY", "x"), ("BTG", "  ")):
        with pytest.raises(BadRequest):
            glass.begin(changing.store, A, session, "p4", reason, note, NOW)
    assert through(changing, session).glass == ""


def test_a_row_written_by_somebody_else_opens_nothing(changing: Hospital) -> None:
    session = signed_in(changing)
    broken(changing, session)
    changing.store.write(lambda t: t.session.run("UPDATE glass SET patient = 'p5'"))
    assert through(changing, session).glass == ""


def test_somebody_else_reviews_it_and_the_patient_reads_why(changing: Hospital) -> None:
    session = signed_in(changing)
    broken(changing, session)
    with changing.store.connect() as connection:
        (one,) = glass.listed(connection, unreviewed=True)
        assert glass.of_patient(connection, "p4")[0][1] == "treatment in an emergency"
        assert "floor" not in str(glass.of_patient(connection, "p4"))
    with pytest.raises(Conflict):
        glass.review(changing.store, one.id, "Nadia", NOW)
    with pytest.raises(NotFound):
        glass.review(changing.store, "none", "Omar", NOW)
    glass.review(changing.store, one.id, "Omar", NOW)
    with changing.store.connect() as connection:
        assert glass.listed(connection, unreviewed=True) == []
        assert glass.listed(connection)[0].reviewer == "Omar"
        assert connection.execute(table.select()).one().note == "found on the floor"


def test_a_patient_is_named_by_an_identifier_that_only_they_have(changing: Hospital) -> None:
    number = [{"system": "urn:numbers", "value": "19|1,2"}]
    put(changing, "numbered", {"resourceType": "Patient", "identifier": number})
    assert glass.find(changing.store, "urn:numbers", "19|1,2") == "numbered"
    put(changing, "twin", {"resourceType": "Patient", "identifier": number})
    for system, value in (
        ("urn:numbers", "19|1,2"),
        ("urn:numbers", "2"),
        ("", "19|1,2"),
        ("urn:numbers", ""),
    ):
        with pytest.raises(NotFound):
            glass.find(changing.store, system, value)

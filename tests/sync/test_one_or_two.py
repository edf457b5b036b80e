"""What is one and becomes two, and what is two and becomes one: cases seen on real servers, through the
whole sync."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod.store import Store, sqlite
from fhir_coprod.sync.merging import doubts, matches, trusted
from fhir_coprod.sync.merging.people import Trust
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging import numbers, stage
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.stage import Batch
from tests.peers.fixtures import NewStore
from tests.sync.merging.at_once import resolve, survey
from tests.sync.population import PERSONNUMMER, population
from tests.sync.records import Json, organization, patient, referral, task
from tests.sync.story import goes, ids, questions, settled, shown, told
from tests.sync.test_arrival import CONTEXT, put


def with_numbers(record: Json, *numbers: tuple[str, str]) -> Json:
    return {**record, "identifier": [{"system": system, "value": value} for system, value in numbers]}


def one(store: Store, type: str) -> bool:
    return len(set(ids(store, type).values())) == 1


# --- departments ----------------------------------------------------------------------------------


def test_two_departments_that_carry_the_number_of_their_company_are_two(store: Store) -> None:
    gp = with_numbers(organization("gp"), ("urn:x:unit", "H1"), ("urn:x:company", "C1"))
    unit = with_numbers(organization("1"), ("urn:x:unit", "H2"), ("urn:x:company", "C1"))
    told(store, ("care", gp), ("ortho", unit))
    assert not one(store, "Organization")


def test_two_departments_of_the_settings_are_two_whatever_they_share(store: Store) -> None:
    told(store, ("care", organization("gp", "C1")), ("ortho", organization("1", "C1")))
    assert not one(store, "Organization")


def test_departments_that_were_one_part_when_the_settings_name_them(store: Store) -> None:
    unnamed = Context(CONTEXT.bases, CONTEXT.order, {})
    put(store, ("care", organization("gp", "C1")), ("ortho", organization("1", "C1")))
    put(store, ("ortho", task("t", "Patient/p", "ServiceRequest/s", owner={"reference": "Organization/1"})))
    settled(store, context=unnamed)
    assert one(store, "Organization")
    settled(store)
    own = ids(store, "Organization")
    assert own["care/gp"] != own["ortho/1"]
    assert shown(store, "Task", "ortho/t")["owner"] == {"reference": f"Organization/{own['ortho/1']}"}


# --- orders ---------------------------------------------------------------------------------------

AT_CARE = "https://care.example/Patient/1"


@pytest.mark.parametrize("has_namesake", [False, True])
def test_a_referral_whose_subject_is_at_another_ehr_concerns_that_patient(
    store: Store, has_namesake: bool
) -> None:
    """The receiver keeps the sender's address; it may have another patient with the same id."""
    namesake = patient("1", "2", birthDate="1999-09-09", name=[{"family": "Ek"}])
    told(
        store,
        ("care", patient("1", "19700102")),
        ("care", referral("s1", "Patient/1", "R1")),
        ("ortho", referral("77", AT_CARE, "R1")),
        *([("ortho", namesake)] if has_namesake else []),
    )
    assert one(store, "ServiceRequest")
    own = ids(store, "Patient")["care/1"]
    assert shown(store, "ServiceRequest", "ortho/77")["subject"] == {"reference": f"Patient/{own}"}


def test_a_referral_whose_subject_is_named_by_identifier_concerns_that_patient(store: Store) -> None:
    named = referral("77", "", "R1", subject={"identifier": {"system": "urn:number", "value": "19700102"}})
    told(store, ("ortho", named), ("care", referral("s1", "Patient/1", "R1")))
    assert not one(store, "ServiceRequest")
    told(store, ("care", patient("1", "19700102")))
    assert one(store, "ServiceRequest"), "also when the patient arrives later"
    told(store, ("neuro", patient("x", "19700102", birthDate="1999-09-09", name=[{"family": "Ek"}])))
    assert not one(store, "ServiceRequest"), "two carry the number: nobody knows who is meant"


def test_two_sides_of_the_body_are_two_orders(store: Store) -> None:
    def order(id: str, of: str, side: str) -> Json:
        requisition = {"system": "urn:x:q", "value": "Q1"}
        return referral(id, of, requisition=requisition, bodySite=[{"text": side}], code={"text": "KNEE"})

    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")))
    told(store, ("care", order("s", "Patient/p", "left")), ("ortho", order("t", "Patient/q", "right")))
    assert not one(store, "ServiceRequest")
    assert shown(store, "ServiceRequest", "ortho/t")["bodySite"] == [{"text": "right"}]
    told(store, ("ortho", order("t", "Patient/q", "left")))
    assert one(store, "ServiceRequest")


def test_orders_of_one_requisition_for_two_performers_are_two_as_soon_as_that_is_known(store: Store) -> None:
    def order(id: str, of: str, by: str) -> Json:
        requisition = {"system": "urn:x:q", "value": "Q1"}
        return referral(id, of, requisition=requisition, performer=[{"reference": by}])

    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "1")))
    told(
        store,
        ("care", order("s", "Patient/p", "Organization/x")),
        ("ortho", order("t", "Patient/q", "Organization/y")),
    )
    assert one(store, "ServiceRequest")
    told(store, ("care", organization("x", "X")), ("ortho", organization("y", "Y")))
    assert not one(store, "ServiceRequest")


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("188801019999", "18880101-9999"),
        ("197003029999", "19700302 9999"),
        ("197003029999", "700302-9999"),
        ("197003029999", " 197003029999"),
    ],
)
def test_a_national_number_written_in_two_ways_is_one(store: Store, mine: str, theirs: str) -> None:
    born = {"birthDate": f"{mine[:4]}-{mine[4:6]}-{mine[6:8]}"}
    told(
        store,
        ("care", with_numbers(patient("p", **born), (PERSONNUMMER, mine))),
        (
            "ortho",
            with_numbers(
                patient("q", **born), ("http://electronichealth.se/identifier/personnummer", theirs)
            ),
        ),
    )
    assert one(store, "Patient")


def test_a_site_says_what_its_own_numbers_mean_and_what_was_read_before_is_read_again(
    store: Store, tmp_path: Any
) -> None:
    told(
        store,
        ("care", with_numbers(patient("p"), ("urn:ward", "W-007"))),
        ("ortho", with_numbers(patient("q"), ("urn:ward", "w7"))),
    )
    assert not one(store, "Patient")
    file = tmp_path / "ours.toml"
    file.write_text('[systems."urn:ward"]\ntype = "JHN"\ndrop = "-Ww"\nleading_zeros = false\n')
    bases = Bases(CONTEXT.bases.addresses, numbering=numbers.load(str(file)))
    settled(store, context=Context(bases, CONTEXT.order, CONTEXT.departments))
    assert one(store, "Patient")
    settled(store)
    assert not one(store, "Patient"), "and again when the file goes"


# --- merged at the EHR; ids that FHIR does not allow ----------------------------------------------


def test_a_patient_given_up_at_its_ehr_follows_the_whole_reference(store: Store) -> None:
    link = [{"other": {"reference": "https://ortho.example/Patient/b"}, "type": "replaced-by"}]
    told(
        store,
        ("care", patient("a", "1", link=link)),
        ("care", patient("b", "2", birthDate="1999-09-09")),
        ("ortho", patient("b", "3", birthDate="1988-08-08")),
    )
    own = ids(store, "Patient")
    assert own["care/a"] == own["ortho/b"] != own["care/b"]


def test_a_patient_whose_address_answers_with_another_is_given_up_for_that_one(store: Store) -> None:
    told(store, ("care", patient("A", "1", gender="male")), ("care", referral("s1", "Patient/A")))
    told(store, ("care", patient("B", "2", birthDate="1999-09-09")))
    before = ids(store, "Patient")
    a, b = Record("care", "Patient", "A"), Record("care", "Patient", "B")
    for _ in range(2):
        batch = Batch("care", "Patient", given_up=[(a, b)])
        store.write(lambda t, batch=batch: stage.stage(t.connection, batch, t.now))
        settled(store)
    own = ids(store, "Patient")
    assert own["care/A"] == own["care/B"]
    assert shown(store, "Patient", "care/B")["birthDate"] == "1999-09-09", "who was given up does not lead"
    assert shown(store, "ServiceRequest", "care/s1")["subject"] == {"reference": f"Patient/{own['care/B']}"}
    [retired] = set(before.values()) - set(own.values())
    left = store.read("Patient", retired).data
    assert (left["active"], left["link"][0]["type"]) == (False, "replaced-by")
    told(store, ("care", patient("A", "1", gender="male")))
    assert ids(store, "Patient") == before, "the EHR has parted them again"


@pytest.mark.parametrize("id", ["e" + "A" * 69, "a_b", "a:b", "x" * 3000])
def test_a_subject_whose_id_fhir_does_not_allow_is_the_absolute_address_at_its_ehr(
    store: Store, id: str
) -> None:
    told(store, ("care", referral("s", f"Patient/{id}", "R1")))
    subject = shown(store, "ServiceRequest", "care/s")["subject"]
    assert subject == {"reference": f"https://care.example/Patient/{id}"}


# --- whole populations through the whole sync -----------------------------------------------------


@pytest.mark.parametrize("seed", [3, 4])
def test_nobody_is_joined_wrongly_however_the_records_come_in(store: Store, seed: int) -> None:
    people = population(seed, 25, errors=5)
    records = [(r.ehr, {"id": r.id, **data}) for r, data in people.raw.items()]
    for start in range(0, len(records), 20):
        told(store, *records[start : start + 20])
    own = ids(store, "Patient")
    for record, person in people.whose.items():
        mine = own[f"{record.ehr}/{record.id}"]
        mates = {p.name for r, p in people.whose.items() if own[f"{r.ehr}/{r.id}"] == mine}
        assert mates == {person.name}
    assert len(set(own.values())) < len(own)


def test_what_comes_of_it_does_not_depend_on_how_it_came(store: Store, store_path: str) -> None:
    people = population(11, 14, errors=5)
    records = [(r.ehr, {"id": r.id, **data}) for r, data in people.raw.items()]
    told(store, *records)
    at_once = _groups(store)
    with Store.open(store_path.replace("coprod.db", "other.db")) as other:
        for record in reversed(records):
            told(other, record)
        assert _groups(other) == at_once
    told(store, *((ehr, {**data, "gender": "unknown"}) for ehr, data in records[::7]))
    assert _groups(store) == at_once
    trust = Trust(days=CONTEXT.bases.numbering.days, today=datetime.now(UTC).date().isoformat())
    together = resolve(people.records, survey(people.records, trust).trust(trust))
    assert {frozenset(map(_named, group)) for group in together.groups} == at_once
    with store.connect() as connection:
        listed = {one.pair: one.why for one in doubts.read(connection) if one.why}
    assert listed == together.doubts


def _named(record: Record) -> str:
    return f"{record.ehr}/{record.id}"


def _groups(store: Store) -> set[frozenset[str]]:
    by_id: dict[str, set[str]] = {}
    for record, id in ids(store, "Patient").items():
        by_id.setdefault(id, set()).add(record)
    return {frozenset(group) for group in by_id.values()}


def test_a_system_that_different_people_share_is_found_out_and_parts_whom_it_joined(store: Store) -> None:
    def member(family: int, n: int) -> Json:
        given = ("Karl", "Anna")[n]
        person = patient(f"{family}-{n}", birthDate=f"19{40 + 30 * n}-05-05")
        named = {**person, "name": [{"family": f"F{family}", "given": [given]}]}
        return with_numbers(named, ("urn:policy", f"P{family:03}"))

    told(store, *((ehr, member(f, n)) for f in range(2) for n in range(2) for ehr in ("care", "ortho")))
    assert len(set(ids(store, "Patient").values())) == 4
    told(store, *((ehr, member(2, n)) for n in range(2) for ehr in ("care", "ortho")))
    assert len(set(ids(store, "Patient").values())) == 12, "three policies are of several people"
    told(store, *(("care", with_numbers(member(f, 1), ("urn:policy", f"Q{f}"))) for f in range(3)))
    told(store, *(("ortho", with_numbers(member(f, 1), ("urn:policy", f"Q{f}"))) for f in range(3)))
    assert len(set(ids(store, "Patient").values())) == 6, "it names people again"


@pytest.mark.parametrize("is_deleted", [True, False])
def test_two_who_share_a_number_of_three_people_are_one_as_soon_as_one_of_the_three_gives_it_up(
    store: Store, is_deleted: bool
) -> None:
    def named(id: str, given: str, year: int, number: str = "N1") -> Json:
        return patient(id, number, birthDate=f"{year}-05-05", name=[{"family": "Öst", "given": [given]}])

    told(store, *((ehr, named("eva", "Eva", 1970)) for ehr in ("care", "ortho")))
    assert one(store, "Patient")
    told(store, ("neuro", named("karl", "Karl", 1940)), ("neuro", named("linnea", "Linnéa", 2001)))
    own = ids(store, "Patient")
    assert own["care/eva"] != own["ortho/eva"], "a number of three people names nobody"
    if is_deleted:
        goes(store, "neuro", "Patient/linnea")
        settled(store)
    else:
        told(store, ("neuro", named("linnea", "Linnéa", 2001, "N2")))
    own = ids(store, "Patient")
    assert own["care/eva"] == own["ortho/eva"] != own["neuro/karl"]


def test_linking_a_record_takes_no_more_steps_however_many_others_and_doubts_there_are(
    new_store: NewStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of SQLite's machine in the transactions that write, in tens."""
    steps = 0
    connect = sqlite.SqliteDatabase._connect

    def count() -> None:
        nonlocal steps
        steps += 1

    def watched(self: sqlite.SqliteDatabase, mode: str) -> sqlite3.Connection:
        connection = connect(self, mode)
        if mode == "rwc":
            connection.set_progress_handler(count, 10)
        return connection

    monkeypatch.setattr(sqlite.SqliteDatabase, "_connect", watched)

    def work(others: int) -> tuple[int, int]:
        with new_store("sqlite") as url, Store.open(url) as store:
            day = [f"19{n // 10:02}-05-{n % 10 + 10}" for n in range(others)]
            told(store, *(("care", patient(f"p{n}", f"1{n:05}", birthDate=day[n])) for n in range(others)))
            told(store, *(("ortho", patient(f"q{n}", birthDate=day[n])) for n in range(others)))
            other = {"birthDate": "1999-05-05"}
            told(store, ("care", patient("x", "77123")), ("care", patient("y", "88123", **other)))
            found = []
            for one in (patient("x", "77123"), patient("y", **other)):
                before = steps
                told(store, ("ortho", one))
                found.append(steps - before)
            with store.connect() as connection:
                assert len(doubts.read(connection)) == others + 1
        return found[0], found[1]

    few, many = work(5), work(200)
    assert many[0] <= 1.2 * few[0], "one that is joined"
    assert many[1] <= 1.2 * few[1], "one that is in doubt"


def test_postgresql_holds_the_same_story(postgresql_database: str) -> None:
    with Store.open(postgresql_database) as store:
        people = population(5, 12, errors=5)
        records = [(r.ehr, {"id": r.id, **data}) for r, data in people.raw.items()]
        told(store, *records[::2])
        told(store, *records[1::2], ("care", patient("p", "19700102")), ("ortho", patient("q")))
        told(store, ("care", referral("s", "Patient/p")))
        pair = (Record("care", "Patient", "p"), Record("ortho", "Patient", "q"))
        assert matches.task_id(pair) in {question.id for question in questions(store)}
        apart = _groups(store)
        for word in ("same", "different"):
            store.write(lambda t, word=word: matches.say(t, [pair], word, "Karin Sand"))
            settled(store)
            assert (_groups(store) == apart) is (word == "different")
        with store.connect() as connection:
            assert trusted.seen(connection, "care")


def test_a_record_that_names_itself_as_its_successor_is_only_itself(store: Store) -> None:
    link = [{"other": {"reference": "Patient/a"}, "type": "replaced-by"}]
    told(store, ("care", patient("a", "1", link=link)))
    assert ids(store, "Patient").keys() == {"care/a"}
    assert Record("care", "Patient", "a").can_arrive

"""Which records are the same person, which may be, and which are not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.sync.merging.people import Trust
from fhir_coprod.sync.merging.trusted import ODD_VALUES
from fhir_coprod.sync.staging.identity import Candidate, Decisions, pair_of
from fhir_coprod.sync.staging.references import Record
from tests.sync.merging.at_once import survey
from tests.sync.merging.persons import (
    ONE,
    SSN,
    THREE,
    TODAY,
    TWO,
    found,
    groups,
    numbered,
    patient,
    resolve,
    why,
)

# --- two records ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (patient("b"), "one"),
        (patient("b", number="123-45-6780"), "one"),
        (patient("b", family="OST", given="eva maria"), "one"),
        (patient("b", family="Öst Ek"), "one"),
        (patient("b", birth=""), "ask"),
        (patient("b", birth="1970"), "ask"),
        (patient("b", birth="1970-03"), "ask"),
        (patient("b", family=""), "ask"),
        (patient("b", given=""), "ask"),
        (patient("b", given="E"), "ask"),  # an initial says too little
        (patient("b", family="Ek"), "ask"),  # married, or somebody else
        (patient("b", given="Lisa"), "ask"),
        (patient("b", birth="1970-02-03"), "ask"),  # mistyped, or the number is
        (patient("b", birth="1999-02-03", given="Lisa"), "two"),  # the number is mistyped
        (patient("b", birth="1971"), "ask"),  # not what the whole date says
        (patient("b", family="Ek", given="Lisa"), "two"),
        (patient("b", number=""), "ask"),
        (patient("b", number=TWO), "two"),
        (patient("b", number="123456789"), "ask"),  # 123456789 is a placeholder
        (patient("b", number="123456781"), "ask"),  # one digit is another
        (patient("b", number="", family="Ek"), "two"),
        (patient("b", number="", birth="1999-09-09"), "two"),
        (patient("b", number="", birth="1970-03"), "two"),
    ],
)
def test_a_naming_number_the_birth_date_and_both_names_make_two_records_one(
    other: Candidate, expected: str
) -> None:
    assert found(patient("a"), other) == expected


def test_the_father_and_the_son_of_one_name_and_one_family_number_are_two_without_a_question() -> None:
    father, son = (
        patient(ehr, birth=birth, given="Erik", identifier=[numbered("77001")])
        for ehr, birth in (("a", "1950-05-05"), ("b", "1980-06-06"))
    )
    assert found(father, son) == "two"


@pytest.mark.parametrize("day", ["01-01", "07-01"])
def test_a_placeholder_day_agrees_only_beside_a_national_number_and_the_full_name(day: str) -> None:
    trust = Trust(days=frozenset(("01-01", "07-01")))
    born = {"birth": f"1990-{day}"}
    assert found(patient("a", **born), patient("b", **born), trust) == "one"
    assert found(patient("a", **born), patient("b", family="Öst Ek", **born), trust) == "ask"
    assert found(patient("a", given="Eva Maria", **born), patient("b", given="Maria", **born), trust) == "ask"
    card = {"identifier": [numbered("77001", "HC")]}
    assert found(patient("a", **born, **card), patient("b", **born, **card), trust) == "ask"
    assert found(patient("a", number="", **born), patient("b", number="", **born), trust) == "two"


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("Eva", "Eva", "one"),
        ("Eva", "Anna", "ask"),
        ("Eva Maria", "Anna Maria", "ask"),
        ("Baby", "Eva", "ask"),
        ("Baby", "Baby", "ask"),
        ("Maria", "Eva Maria", "ask"),  # good enough for a grown-up
    ],
)
@pytest.mark.parametrize(
    "more", [{"birth": "2026-03-02"}, {"multipleBirthBoolean": True}, {"multipleBirthInteger": 2}]
)
def test_babies_and_twins_are_one_only_if_the_given_names_agree(
    a: str, b: str, expected: str, more: dict[str, Any]
) -> None:
    assert found(patient("a", given=a, **more), patient("b", given=b, **more)) == expected


def test_a_grown_up_is_called_by_one_of_the_names_but_a_shared_middle_name_is_too_little() -> None:
    assert found(patient("a", given="Eva Maria"), patient("b", given="Maria")) == "one"
    assert found(patient("a", given="Eva Maria"), patient("b", given="Anna Maria")) == "ask"


@pytest.mark.parametrize("kind", ["NI", "SS", "PPN", "HC", "JHN", "MR", "PI", ""])
def test_kinds_that_name_a_person(kind: str) -> None:
    number = {"identifier": [numbered("77001", kind)]}
    assert found(patient("a", **number), patient("b", **number)) == "one"


@pytest.mark.parametrize("kind", ["MB", "SN", "AN", "NIIP", "MRT", "ANON", "U", "DL"])
def test_kinds_that_name_nobody(kind: str) -> None:
    number = {"identifier": [numbered("77001", kind)]}
    assert found(patient("a", **number), patient("b", **number)) == "ask", "they are only alike"
    assert found(patient("a", **number), patient("b", given="Lisa", **number)) == "two"


@pytest.mark.parametrize("more", [{"use": "old"}, {"use": "temp"}, {"period": {"end": "2026-11-29"}}])
def test_an_identifier_that_is_old_temporary_or_ended_neither_joins_nor_parts(more: dict[str, Any]) -> None:
    number = [numbered("77001", "NI", **more)]
    assert found(patient("a", identifier=number), patient("b", identifier=number)) == "ask"
    other = [numbered("77002", "NI"), numbered("9", "PPN", "urn:passport")]
    mine = [*number, numbered("9", "PPN", "urn:passport")]
    assert found(patient("a", identifier=mine), patient("b", identifier=other)) == "one"


def test_an_identifier_that_ends_later_still_counts() -> None:
    number = [numbered("77001", "NI", period={"end": "2026-11-30"})]
    assert found(patient("a", identifier=number), patient("b", identifier=number)) == "one"


def test_another_number_of_one_system_contradicts() -> None:
    def with_both(ehr: str, card: str) -> Candidate:
        return patient(ehr, identifier=[numbered(ONE, system=SSN), numbered(card, "HC")])

    assert found(with_both("a", "77001"), with_both("b", "77001")) == "one"
    assert found(with_both("a", "77001"), with_both("b", "88002")) == "ask"
    assert why(with_both("a", "77001"), with_both("b", "88002")) == "the same number, another number differs"


def test_a_record_number_counts_within_its_assigner() -> None:
    def at(ehr: str, value: str, who: str = "") -> Candidate:
        assigner = {"assigner": {"display": who}} if who else {}
        return patient(ehr, identifier=[numbered(value, "MR", **assigner)])

    assert found(at("a", "7", "North"), at("b", "7", "north ")) == "one"
    assert found(at("a", "7", "North"), at("b", "7", "South")) == "ask", "alike, with no number in common"
    assert found(at("a", "7", "North"), at("b", "8", "South")) == "ask", "nothing contradicts"
    assert found(at("a", "7", "North"), at("b", "8", "North")) == "two"
    assert found(at("a", "7", "North"), at("b", "7")) == "ask", "perhaps the same"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [("ab 12-3", "AB123"), ("00123", "123"), ("a1b", "A1B"), ("12.345", "12345"), (" 7 7", "77")],
)
def test_a_number_of_an_unknown_system_that_is_written_otherwise_is_a_question(
    mine: str, theirs: str
) -> None:
    a, b = (patient(ehr, identifier=[numbered(v)]) for ehr, v in (("a", mine), ("b", theirs)))
    assert found(a, b) == "ask"
    assert why(a, b) == "perhaps the same number"


def test_what_is_missing_is_told() -> None:
    assert why(patient("a"), patient("b", birth="", given="")) == (
        "the same number, birth date is missing, given name is missing"
    )
    assert why(patient("a"), patient("b", birth="1982-12-13")) == "the same number, birth date differs"


def lindqvist(ehr: str, **more: Any) -> Candidate:
    return patient(ehr, **{"given": "Maria Eva", "family": "Lindqvist", **more})


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"given": "Marie"}, "given name is almost the same"),
        ({"given": "Mara"}, "given name is almost the same"),
        ({"given": "Amria"}, "given name is almost the same"),
        ({"given": "Mraai"}, "given name differs"),
        ({"given": "Marie", "family": "Sund"}, "given name is almost the same, family name differs"),
        ({"given": "Lisa", "family": "Lindqist"}, "given name differs, family name is almost the same"),
        ({"given": "Lindqvist", "family": "Maria Eva"}, "given and family name have changed places"),
        ({"birth": "1970-03-03"}, "birth date is almost the same"),
        ({"birth": "1970-02-03"}, "birth date is almost the same"),
        ({"birth": "1970-02-03", "family": "Sund"}, "birth date is almost the same, family name differs"),
        ({"birth": "1970-02-03", "given": "Lisa"}, ""),
        ({"birth": "1982-12-13", "given": "Marie"}, ""),
        ({"given": "Lisa", "family": "Sund"}, ""),
    ],
)  # fmt: skip
def test_slips_of_the_finger_beside_the_same_number_are_a_question(
    other: dict[str, str], expected: str
) -> None:
    mine, theirs = lindqvist("a"), lindqvist("b", **other)
    assert found(mine, theirs) == ("ask" if expected else "two")
    if expected:
        assert why(mine, theirs) == f"the same number, {expected}"


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ({}, {}, "one"),
        ({}, {"given": "Maria"}, "one"),
        ({}, {"given": "Maria Lisa"}, "ask"),
        ({}, {"birth": ""}, "ask"),
        ({"birth": "1970-01-01"}, {"birth": "1970-01-01"}, "ask"),
        ({"identifier": [numbered("77001", "HC")]}, {"identifier": [numbered("77001", "HC")]}, "ask"),
    ],
)
def test_a_mistyped_family_name_joins_only_beside_a_national_number_and_all_else(
    mine: dict[str, Any], theirs: dict[str, Any], expected: str
) -> None:
    assert found(lindqvist("a", **mine), lindqvist("b", **{**theirs, "family": "Lindqist"})) == expected


def test_in_a_short_name_another_letter_is_another_name() -> None:
    assert found(patient("a", family="Öst"), patient("b", family="Ost")) == "one"
    assert found(patient("a", family="Öst"), patient("b", family="Est")) == "ask"
    assert why(patient("a"), patient("b", given="Evi")) == "the same number, given name differs"


def test_a_number_that_names_nobody_still_leads_to_who_is_alike() -> None:
    trust = Trust(systems=frozenset(("urn:number",)))
    card = {"identifier": [numbered("77001")]}
    mine, married = patient("a", **card), patient("b", family="Sund", **card)
    assert found(mine, married, trust) == "ask"
    assert why(mine, married, trust) == (
        "a number in common that other people have, too, family name differs"
    )
    assert found(mine, patient("b", family="Sund", given="Lisa", **card), trust) == "two"
    assert found(mine, patient("b", family="Sund", birth="1970-03-03", **card), trust) == "two"
    assert found(mine, patient("b", family="Sund", identifier=[numbered("9")]), trust) == "two"


def test_mistyped_records_do_not_speak_against_a_number() -> None:
    pairs = [
        lindqvist(ehr, id=str(n), identifier=[numbered(f"7700{n}")], birth=birth, given=given)
        for n in range(ODD_VALUES)
        for ehr, birth, given in (("a", "1970-03-02", "Maria"), ("b", "1982-12-13", "Marie"))
    ]
    assert not survey(pairs).odd["urn:number"]


# --- several records ------------------------------------------------------------------------------


def test_in_a_group_each_two_agree() -> None:
    one = patient("a", given="Eva")
    both = patient("b", given="Eva Lisa", name=[{"family": "Öst", "given": [g]} for g in ("Eva", "Lisa")])
    other = patient("c", given="Lisa")
    resolution = resolve([one, both, other])
    assert groups(resolution) == [{"a1", "b1"}, {"c1"}]
    assert set(resolution.doubts) == {(one.record, other.record), (both.record, other.record)}


def test_two_without_a_common_number_are_not_one_through_a_third() -> None:
    card = numbered("77001", "HC")
    a, c = patient("a"), patient("c", identifier=[card])
    b = patient("b", identifier=[numbered(ONE, system=SSN), card])
    assert groups(resolve([a, b, c])) == [{"a1", "b1"}, {"c1"}]


def test_a_patient_replaced_at_its_ehr_is_one_with_its_successor() -> None:
    link = [{"other": {"reference": "Patient/2"}, "type": "replaced-by"}]
    old = patient("a", "1", "", family="", given="", birth="", link=link)
    assert groups(resolve([old, patient("a", "2")])) == [{"a1", "a2"}]


@pytest.mark.parametrize(
    ("reference", "follows"),
    [
        ("Patient/2", True),
        ("Patient/2/_history/7", True),
        ("https://a.example/Patient/2", True),
        ("https://b.example/Patient/2", False),
        ("https://elsewhere.example/Patient/2", False),
        ("Person/2", False),
        ("#2", False),
        ("urn:uuid:2", False),
    ],
)
def test_a_successor_is_found_by_the_whole_reference(reference: str, follows: bool) -> None:
    link = [{"other": {"reference": reference}, "type": "replaced-by"}]
    old = patient("a", "1", "", family="", given="", birth="", link=link)
    assert (len(resolve([old, patient("a", "2")]).groups) == 1) is follows


@pytest.mark.parametrize("type", ["seealso", "refer", "replaces"])
def test_no_other_link_makes_two_patients_one(type: str) -> None:
    link = [{"other": {"reference": "Patient/2"}, "type": type}]
    old = patient("a", "1", "", family="", given="", birth="", link=link)
    assert len(resolve([old, patient("a", "2")]).groups) == 2


def test_what_a_given_up_record_says_brings_nobody_to_its_successor() -> None:
    """Its EHR found two records of one person; that a third is like the old one is for a person to see."""
    link = [{"other": {"reference": "Patient/2"}, "type": "replaced-by"}]
    old, new = patient("a", "1", link=link), patient("a", "2", TWO, given="Evy")
    other = patient("b")
    resolution = resolve([old, new, other])
    assert groups(resolution) == [{"a1", "a2"}, {"b1"}]
    assert set(resolution.doubts) == {(old.record, other.record)}


# --- a person's word ------------------------------------------------------------------------------


def pair(a: Candidate, b: Candidate) -> Any:
    return frozenset([pair_of(a.record, b.record)])


def test_a_person_decides_that_two_are_one_or_are_not() -> None:
    a, b = patient("a"), patient("b", number="", birth="1999-09-09", given="Lisa")
    assert groups(resolve([a, b], decisions=Decisions(same=pair(a, b)))) == [{"a1", "b1"}]
    b = patient("b")
    apart = resolve([a, b], decisions=Decisions(different=pair(a, b)))
    assert len(apart.groups) == 2
    assert not apart.doubts


def test_who_is_like_either_of_two_who_were_told_apart_is_nobodys_until_a_person_says_so() -> None:
    a, b, c = patient("a"), patient("b"), patient("c")
    resolution = resolve([a, b, c], decisions=Decisions(different=pair(a, b)))
    assert groups(resolution) == [{"a1"}, {"b1"}, {"c1"}]
    assert set(resolution.doubts) == {(a.record, c.record), (b.record, c.record)}
    said = Decisions(same=pair(b, c), different=pair(a, b))
    assert groups(resolve([a, b, c], decisions=said)) == [{"a1"}, {"b1", "c1"}]


def test_a_word_joins_whole_groups_and_takes_nobody_out_of_one() -> None:
    a, c = patient("a"), patient("c")
    b = patient("b", number=TWO, given="Lisa")
    assert groups(resolve([a, b, c], decisions=Decisions(same=pair(a, b)))) == [{"a1", "b1", "c1"}]


def test_words_that_contradict_each_other_join_nobody_and_are_listed() -> None:
    a, c = patient("a"), patient("c", number=THREE, given="Anna")
    b = patient("b", number=TWO, given="Lisa")
    said = Decisions(same=pair(a, b) | pair(b, c), different=pair(a, c))
    resolution = resolve([a, b, c], decisions=said)
    assert groups(resolution) == [{"a1", "b1"}, {"c1"}]
    assert (b.record, c.record) in resolution.doubts


def test_a_decision_about_a_record_that_is_not_there_changes_nothing() -> None:
    a, away = patient("a").record, Record("z", "Patient", "9")
    for decisions in (Decisions(same=frozenset([(a, away)])), Decisions(different=frozenset([(a, away)]))):
        resolution = resolve([patient("a")], decisions=decisions)
        assert groups(resolution) == [{"a1"}]
        assert not resolution.doubts


# --- whatever comes -------------------------------------------------------------------------------


@st.composite
def _people(draw: st.DrawFn) -> list[Candidate]:
    few = st.sampled_from(["", ONE, TWO])
    return [
        patient(
            draw(st.sampled_from("abc")),
            str(number),
            draw(few),
            family=draw(st.sampled_from(["Öst", "Ek", ""])),
            given=draw(st.sampled_from(["Eva", "Eva Maria", "Maria", ""])),
            birth=draw(st.sampled_from(["", "1970-03-02", "1999-09-09", "1970-01-01"])),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


@given(_people(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(everybody: list[Candidate], dice: random.Random) -> None:
    before = resolve(everybody, survey(everybody).trust(TODAY))
    dice.shuffle(everybody)
    assert resolve(everybody, survey(everybody).trust(TODAY)) == before


@given(_people())
def test_everybody_is_in_exactly_one_group_and_doubts_are_between_two(everybody: list[Candidate]) -> None:
    resolution = resolve(everybody)
    grouped = [record for group in resolution.groups for record in group]
    assert sorted(grouped) == sorted(candidate.record for candidate in everybody)
    group_of = {record: group for group in resolution.groups for record in group}
    assert all(group_of[a] != group_of[b] and a < b for a, b in resolution.doubts)

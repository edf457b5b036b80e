"""Which records are the same person or thing, which may be, and which are not."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.sync.staging.identity import CROWD, Candidate, Decisions, Resolution, keys, resolve
from fhir_coprod.sync.staging.references import Record

PNR = "urn:oid:1.2.752.129.2.1.3.1"


def patient(
    ehr: str,
    id: str,
    *,
    number: str = "",
    family: str = "Öst",
    given: str = "Eva",
    birth: str = "1970-01-02",
    **more: Any,
) -> Candidate:
    data: dict[str, Any] = {"resourceType": "Patient", "id": id, **more}
    if number:
        data["identifier"] = [{"system": PNR, "value": number}]
    if family:
        data["name"] = [{"family": family, "given": [given]}]
    if birth:
        data["birthDate"] = birth
    return Candidate(Record(ehr, "Patient", id), keys(data))


def thing(ehr: str, id: str, *numbers: str, type: str = "Organization", subject: str = "") -> Candidate:
    data = {
        "resourceType": type,
        "identifier": [{"system": "urn:org", "value": number} for number in numbers],
    }
    return Candidate(Record(ehr, type, id), keys(data), subject)


def groups(resolution: Resolution) -> list[set[str]]:
    return [{f"{record.ehr}{record.id}" for record in group} for group in resolution.groups]


def possible(resolution: Resolution) -> set[frozenset[str]]:
    return {frozenset((f"{a.ehr}{a.id}", f"{b.ehr}{b.id}")) for a, b in resolution.possible}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (patient("b", "2", number="1"), "one"),
        (patient("b", "2", number="1", family="Ek"), "one"),  # married: the birth date agrees
        (patient("b", "2", number="1", birth="1970-02-01"), "one"),  # mistyped: the name agrees
        (patient("b", "2", number="1", birth="1970-01"), "one"),
        (patient("b", "2", number="1", family="OST", given="eva maria"), "one"),
        (patient("b", "2", number="1", family="Ek", birth="1999-09-09"), "possible"),
        (patient("b", "2", number="1", family="", birth=""), "possible"),
        (patient("b", "2", number="1", family="Ek", birth="1970"), "possible"),  # a year says too little
        (patient("b", "2"), "possible"),  # looks the same, shares no identifier
        (patient("b", "2", number="2"), "two"),  # looks the same, but has another number
        (patient("b", "2", family="Ek"), "two"),
        (patient("b", "2", birth="1999-09-09"), "two"),
    ],
)
def test_a_shared_identifier_and_birth_date_or_name(other: Candidate, expected: str) -> None:
    resolution = resolve([patient("a", "1", number="1"), other])
    found = "one" if len(resolution.groups) == 1 else "possible" if resolution.possible else "two"
    assert found == expected


def test_a_name_given_only_as_text_agrees() -> None:
    other = patient("b", "2", number="1", family="", birth="", name=[{"text": "Eva Öst"}])
    assert len(resolve([patient("a", "1", number="1"), other]).groups) == 1


@pytest.mark.parametrize("use", ["old", "temp"])
def test_an_identifier_that_is_old_or_temporary_identifies_nobody(use: str) -> None:
    other = patient("b", "2", identifier=[{"system": PNR, "value": "1", "use": use}])
    assert len(resolve([patient("a", "1", number="1"), other]).groups) == 2


def test_an_identifier_without_system_identifies_nobody() -> None:
    a = patient("a", "1", identifier=[{"value": "1"}], birth="")
    b = patient("b", "2", identifier=[{"value": "1"}], birth="")
    assert len(resolve([a, b]).groups) == 2


def test_a_number_that_one_ehr_gives_to_three_strangers_identifies_nobody() -> None:
    strangers = [patient("a", str(n), number="0", family=f"F{n}", birth=f"190{n}-01-01") for n in range(3)]
    other = patient("b", "1", number="0", family="F1", birth="1901-01-01")
    resolution = resolve([*strangers, other])
    assert len(resolution.groups) == 4
    assert possible(resolution) == {frozenset(("a1", "b1"))}


def test_a_placeholder_of_a_crowd_identifies_nobody() -> None:
    crowd = [patient(f"e{n}", "1", number="0") for n in range(CROWD + 1)]
    resolution = resolve(crowd)
    assert len(resolution.groups) == CROWD + 1
    assert not resolution.possible


def test_a_patient_replaced_at_its_ehr_is_one_with_its_successor() -> None:
    old = patient(
        "a", "1", family="", birth="", link=[{"other": {"reference": "Patient/2"}, "type": "replaced-by"}]
    )
    assert groups(resolve([old, patient("a", "2")])) == [{"a1", "a2"}]


@pytest.mark.parametrize("type", ["seealso", "refer", "replaces"])
def test_no_other_link_makes_two_patients_one(type: str) -> None:
    old = patient("a", "1", family="", birth="", link=[{"other": {"reference": "Patient/2"}, "type": type}])
    assert len(resolve([old, patient("a", "2")]).groups) == 2


def test_a_month_of_birth_is_too_little_to_ask_a_person() -> None:
    assert not possible(resolve([patient("a", "1", birth="1970-01"), patient("b", "2", birth="1970-01")]))


def test_a_number_that_a_crowd_elsewhere_carries_identifies_nobody() -> None:
    a, b = patient("a", "1", number="1", family="Ek"), patient("b", "2", number="1", family="Al")
    assert len(resolve([a, b]).groups) == 1
    assert len(resolve([a, b], crowded={f"{PNR}|1"}).groups) == 2


def test_an_identifier_that_one_ehr_gives_to_several_things_identifies_none() -> None:
    several = [thing("a", "1", "x"), thing("a", "2", "x")]
    assert len(resolve([*several, thing("b", "1", "x")]).groups) == 3


def test_two_things_of_one_ehr_are_not_made_one_through_a_third() -> None:
    third = thing("b", "1", "x", "y")
    assert groups(resolve([thing("a", "1", "x"), thing("a", "2", "y"), third])) == [{"a1", "b1"}, {"a2"}]


def test_a_person_decides_that_two_are_one_or_are_not() -> None:
    a, b = patient("a", "1"), patient("b", "2")
    pair = (a.record, b.record)
    assert groups(resolve([a, b], decisions=Decisions(same=frozenset([pair])))) == [{"a1", "b2"}]
    apart = resolve([a, b], decisions=Decisions(different=frozenset([pair])))
    assert len(apart.groups) == 2
    assert not apart.possible


def test_who_was_said_to_be_different_is_not_joined_through_a_third() -> None:
    a, b, c = patient("a", "1", number="1"), patient("b", "2", number="1"), patient("c", "3", number="1")
    resolution = resolve([a, b, c], decisions=Decisions(different=frozenset([(a.record, b.record)])))
    assert groups(resolution) == [{"a1", "c3"}, {"b2"}]


def test_organisations_of_several_ehrs_are_one_by_identifier() -> None:
    resolution = resolve(
        [thing("a", "1", "X"), thing("b", "2", "X", "Y"), thing("c", "3", "Y"), thing("d", "4")]
    )
    assert groups(resolution) == [{"a1", "b2", "c3"}, {"d4"}]


def test_two_organisations_of_one_ehr_are_never_made_one() -> None:
    assert len(resolve([thing("a", "1", "X"), thing("a", "2", "X"), thing("b", "3", "X")]).groups) == 3
    chain = resolve([thing("a", "1", "X"), thing("b", "2", "X", "Y"), thing("a", "3", "Y")])
    assert len(chain.groups) == 2


def test_an_order_is_one_only_when_it_concerns_the_same_patient() -> None:
    def orders(*subjects: str) -> int:
        candidates = [
            thing(ehr, "1", "R", type="ServiceRequest", subject=subject)
            for ehr, subject in zip("ab", subjects, strict=True)
        ]
        return len(resolve(candidates).groups)

    assert orders("p", "p") == 1
    assert orders("p", "q") == 2
    assert orders("", "") == 2


def test_an_order_is_found_by_requisition_and_code() -> None:
    def order(ehr: str, id: str, code: str) -> Candidate:
        data = {
            "resourceType": "ServiceRequest",
            "requisition": {"system": "urn:req", "value": "1"},
            "code": {"coding": [{"system": "http://snomed.info/sct", "code": code}]},
        }
        return Candidate(Record(ehr, "ServiceRequest", id), keys(data), "p")

    resolution = resolve([order("a", "1", "mri"), order("a", "2", "ct"), order("b", "3", "ct")])
    assert groups(resolution) == [{"a1"}, {"a2", "b3"}]


@st.composite
def _people(draw: st.DrawFn) -> list[Candidate]:
    few = st.sampled_from(["", "1", "2"])
    return [
        patient(
            draw(st.sampled_from("abc")),
            str(number),
            number=draw(few),
            family=draw(st.sampled_from(["Öst", "Ek"])),
            birth=draw(st.sampled_from(["", "1970-01-02", "1999-09-09"])),
        )
        for number in range(draw(st.integers(1, 7)))
    ]


@given(_people(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(people: list[Candidate], dice: random.Random) -> None:
    before = resolve(people)
    dice.shuffle(people)
    assert resolve(people) == before


@given(_people())
def test_everybody_is_in_exactly_one_group_and_possible_pairs_are_in_two(people: list[Candidate]) -> None:
    resolution = resolve(people)
    everybody = [record for group in resolution.groups for record in group]
    assert sorted(everybody) == sorted(candidate.record for candidate in people)
    group_of = {record: group for group in resolution.groups for record in group}
    assert all(group_of[a] != group_of[b] and a < b for a, b in resolution.possible)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "identifier",
                        "system",
                        "value",
                        "name",
                        "family",
                        "given",
                        "birthDate",
                        "link",
                        "other",
                        "type",
                    ]
                ),
                x,
            )
        ),
    )
)
def test_keys_of_odd_data_never_fail(odd: object) -> None:
    for type in ("Patient", "ServiceRequest"):
        keys({"resourceType": type, **(odd if isinstance(odd, dict) else {"identifier": odd})})

"""Which numbers the data show to name nobody."""

from __future__ import annotations

import pytest

from fhir_coprod.sync.merging.trusted import ODD_VALUES, is_trusted
from fhir_coprod.sync.staging.identity import CROWD, Candidate
from tests.sync.merging import at_once
from tests.sync.merging.at_once import survey
from tests.sync.merging.persons import SSN, TODAY, groups, numbered, patient, resolve


def family(number: int, members: int = 2) -> list[Candidate]:
    """Members of one family with one policy number, each at two EHRs."""
    policy = [numbered(f"P{number:04}", system="urn:policy")]
    return [
        patient(
            ehr,
            f"{number}-{n}",
            family=f"F{number}",
            given=given,
            birth=f"19{40 + 20 * n}-05-05",
            identifier=policy,
        )
        for n, given in enumerate(("Eva", "Karl", "Anna")[:members])
        for ehr in "ab"
    ]


def test_a_system_whose_values_different_people_share_names_nobody() -> None:
    few = [record for number in range(ODD_VALUES - 1) for record in family(number)]
    assert len(resolve(few, survey(few).trust(TODAY)).groups) == len(few) / 2, "two odd values prove nothing"
    many = [record for number in range(ODD_VALUES) for record in family(number)]
    seen = survey(many)
    assert (seen.shared["urn:policy"], seen.odd["urn:policy"]) == (3, 3)
    assert len(resolve(many, seen.trust(TODAY)).groups) == len(many), "it joins nobody any more"


def test_one_odd_value_does_not_kill_a_national_number() -> None:
    crowd = [patient(ehr, str(n), f"{n + 200_000_000}", given=f"N{n}x") for n in range(5) for ehr in "ab"]
    mistyped = patient("c", "9", "200000000", given="Bo", birth="1999-09-09")
    seen = survey([*crowd, mistyped])
    assert seen.odd[SSN] == 1
    resolution = resolve([*crowd, mistyped], seen.trust(TODAY))
    assert len(resolution.groups) == 6
    assert not resolution.doubts


@pytest.mark.parametrize(
    ("shared", "odd", "trusted"),
    [(100, 2, True), (100, 3, False), (300, 3, False), (301, 3, True), (0, 0, True)],
)
def test_how_much_speaks_against_a_system(shared: int, odd: int, trusted: bool) -> None:
    assert is_trusted(shared, odd) is trusted


def test_a_number_of_three_different_people_names_nobody_but_of_two_still_one() -> None:
    strangers = [patient("a", str(n), given=f"N{n}x", birth=f"190{n}-03-03") for n in (1, 2, 3)]
    other = patient("b", given="N1x", birth="1901-03-03")
    everybody = [*strangers, other]
    resolution = resolve(everybody, survey(everybody).trust(TODAY))
    assert len(resolution.groups) == 4
    assert set(resolution.doubts) == {(strangers[0].record, other.record)}, "alike, so a person is asked"
    fewer = [*strangers[:2], other]
    assert {"a1", "b1"} in groups(resolve(fewer, survey(fewer).trust(TODAY)))


def test_a_placeholder_of_a_crowd_identifies_nobody() -> None:
    crowd = [patient(f"e{n}") for n in range(CROWD + 1)]
    resolution = resolve(crowd, survey(crowd).trust(TODAY))
    assert len(resolution.groups) == CROWD + 1
    assert not resolution.doubts
    assert len(resolve(crowd[:CROWD], survey(crowd[:CROWD]).trust(TODAY)).groups) == 1


def test_of_records_that_are_only_around_none_is_grouped_but_doubts_are_found() -> None:
    a, b = patient("a"), patient("b", birth="")
    resolution = at_once.resolve([a], TODAY, around=[b])
    assert groups(resolution) == [{"a1"}]
    assert set(resolution.doubts) == {(a.record, b.record)}

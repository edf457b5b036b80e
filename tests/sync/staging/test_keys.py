"""What a record is compared by, and where each rule of likeness ends."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.sync.staging.identity import CROWD, Candidate, Decisions, keys, resolve
from fhir_coprod.sync.staging.references import LONGEST_KEY, Record, fitted, identifier_key
from tests.sync.staging.test_identity import groups, patient, possible, thing


def of(**content: Any) -> dict[str, frozenset[str]]:
    return keys({"resourceType": "Patient", **content})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ({"family": "Öst", "given": ["Eva", "Maria"]}, {"ost|eva"}),
        ({"family": "O'Neill-Ek", "given": ["Anna Maria"]}, {"o neill ek|anna"}),
        ({"family": "STRASSE", "given": ["ẞ"]}, {"strasse|ss"}),
        ({"text": "Eva Maria Öst"}, {"ost|eva"}),
        ({"text": "Öst"}, None),
        ({"text": ""}, None),
        ({"text": "Al Bo", "family": "Ek", "given": ["Cy"]}, {"ek|cy"}),
        ({"family": "Ek"}, None),
        ({"family": "Ek", "given": []}, None),
        ({"family": "Ek", "given": [7]}, None),
        ({"family": "Ek", "given": ["-"]}, None),
        ({"family": "-", "given": ["Eva"]}, None),
        ({"family": 7, "given": ["Eva"]}, None),
        ({"given": ["Eva"]}, None),
    ],
)
def test_a_name_is_family_and_first_given_name_in_plain_letters(
    name: dict[str, Any], expected: set[str] | None
) -> None:
    assert of(name=[name]).get("name") == (frozenset(expected) if expected else None)


@pytest.mark.parametrize(
    ("birth", "found"),
    [
        ("1970-01-02", True),
        ("1970-01", True),
        ("1970-0", False),
        ("1970", False),
        (19700102, False),
        (None, False),
    ],
)
def test_a_birth_date_says_something_from_the_month_on(birth: Any, found: bool) -> None:
    assert ("birth" in of(birthDate=birth)) is found


def test_a_day_and_each_name_together_are_a_person() -> None:
    names = [{"family": "Ek", "given": ["Bo"]}, {"family": "Al", "given": ["Bo"]}]
    assert of(birthDate="1970-01-02", name=names)["person"] == {"1970-01-02|ek|bo", "1970-01-02|al|bo"}
    assert "person" not in of(birthDate="1970-01", name=names)
    assert "person" not in of(birthDate="1970-01-02")


@pytest.mark.parametrize(
    "link",
    [
        {"type": "seealso", "other": {"reference": "Patient/2"}},
        {"type": "replaced-by", "other": {"reference": 2}},
        {"type": "replaced-by", "other": "Patient/2"},
        {"type": "replaced-by"},
        "odd",
    ],
)
def test_only_a_link_to_a_successor_is_one(link: Any) -> None:
    assert "replaced-by" not in of(link=[link])
    good = {"type": "replaced-by", "other": {"reference": "Patient/2"}}
    assert of(link=[link, good])["replaced-by"] == {"Patient/2"}


def test_an_order_is_known_by_subject_and_by_requisition_with_its_code() -> None:
    requisition = {"system": "urn:req", "value": "1"}

    def order(code: Any, type: str = "ServiceRequest") -> dict[str, frozenset[str]]:
        data = {"resourceType": type, "requisition": requisition, "code": code}
        return keys({**data, "subject": {"reference": "Patient/s"}, "for": {"reference": "Patient/f"}})

    codings = [{"system": "s"}, {"system": "s", "code": "a"}, {"code": "b"}]
    assert order({"coding": codings, "text": "x"})["order"] == {"urn:req|1|s|a"}
    assert order({"coding": [{"code": "b"}]})["order"] == {"urn:req|1||b"}
    assert order({"text": "MRI, Knee"})["order"] == {"urn:req|1|mri knee"}
    assert order("odd")["order"] == order(None)["order"] == {"urn:req|1|"}
    assert order(None)["subject"] == {"Patient/s"}
    assert order(None, "Task")["subject"] == {"Patient/f"}
    assert keys({"resourceType": "Observation", "requisition": requisition}) == {}
    assert keys({"resourceType": "ServiceRequest", "subject": {"reference": 7}, "code": {"text": "x"}}) == {}


def test_an_identifier_is_system_and_value_without_spaces_around_it() -> None:
    assert identifier_key({"system": "s", "value": " 1 "}) == "s|1"
    for odd in (
        None,
        "s|1",
        {},
        {"system": "s"},
        {"value": "1"},
        {"system": "", "value": "1"},
        {"system": "s", "value": ""},
        {"system": 1, "value": "1"},
    ):
        assert identifier_key(odd) == ""


def test_a_key_is_cut_only_where_it_is_longer_than_an_index_takes() -> None:
    longest = "x" * LONGEST_KEY
    assert fitted(longest) == longest
    one, other = fitted(f"{longest}1"), fitted(f"{longest}2")
    assert one != other
    assert one.startswith("x" * 100 + "#")
    assert len(one) == 165


# --- likeness -------------------------------------------------------------------------------------


def test_a_crowd_is_more_than_fifty() -> None:
    assert len(resolve([patient(f"e{n}", "1", number="0") for n in range(CROWD)]).groups) == 1
    assert CROWD == 50


@pytest.mark.parametrize(("number", "joined"), [(2, True), (3, False)])
def test_an_identifier_of_two_strangers_at_one_ehr_still_identifies(number: int, joined: bool) -> None:
    strangers = [
        patient("a", str(n), number="0", family=f"F{n}", birth=f"190{n}-01-01") for n in range(number)
    ]
    other = patient("b", "1", number="0", family="F1", birth="1901-01-01")
    found = groups(resolve([*strangers, other]))
    assert ({"a1", "b1"} in found) is joined


def test_many_records_of_one_person_are_no_strangers() -> None:
    same = [patient("a", str(n), number="0", birth="") for n in range(4)]
    assert len(resolve([*same, patient("b", "1", number="0")]).groups) == 1


def test_strangers_at_several_ehrs_are_not_counted_together() -> None:
    people = [patient(ehr, "1", number="0", family=ehr, birth=f"190{n}-01-01") for n, ehr in enumerate("abc")]
    resolution = resolve(people)
    assert len(resolution.groups) == 3
    assert len(resolution.possible) == 3, "a person is asked"


def test_two_that_share_one_number_and_differ_in_that_of_another_system_may_be_one() -> None:
    def with_numbers(ehr: str, **numbers: str) -> Candidate:
        return patient(ehr, "1", identifier=[{"system": s, "value": v} for s, v in numbers.items()])

    assert possible(resolve([with_numbers("a", x="1"), with_numbers("b", y="2")])) != set()
    assert possible(resolve([with_numbers("a", x="1"), with_numbers("b", x="2")])) == set()
    assert possible(resolve([with_numbers("a", x="1", y="1"), with_numbers("b", x="2", y="3")])) == set()


def test_births_agree_when_any_of_them_do() -> None:
    a = Candidate(
        Record("a", "Patient", "1"),
        {"identifier": frozenset("n"), "birth": frozenset({"1970-01", "1980-01"})},
    )
    b = Candidate(
        Record("b", "Patient", "1"), {"identifier": frozenset("n"), "birth": frozenset({"1980-01-05"})}
    )
    assert len(resolve([a, b]).groups) == 1


def test_a_successor_that_is_not_there_changes_nothing() -> None:
    link = [{"other": {"reference": "Patient/9"}, "type": "replaced-by"}]
    assert groups(resolve([patient("a", "1", link=link), patient("b", "9", number="2", family="Ek")])) == [
        {"a1"},
        {"b9"},
    ]


def test_a_decision_about_a_record_that_is_not_there_changes_nothing() -> None:
    a, away = patient("a", "1").record, Record("z", "Patient", "9")
    for decisions in (Decisions(same=frozenset([(a, away)])), Decisions(different=frozenset([(a, away)]))):
        assert groups(resolve([patient("a", "1")], decisions=decisions)) == [{"a1"}]


def test_nobody_is_nobody() -> None:
    assert resolve([]).groups == ()
    assert resolve([]).possible == frozenset()


def test_things_with_one_name_are_not_one_and_nobody_is_asked() -> None:
    same = [thing("a", "1"), thing("b", "1")]
    assert len(resolve(same).groups) == 2
    assert not resolve(same).possible


def test_two_orders_of_one_ehr_are_never_one() -> None:
    orders = [thing("a", n, "R", type="Task", subject="p") for n in "12"]
    assert len(resolve([*orders, thing("b", "3", "R", type="Task", subject="p")]).groups) == 3

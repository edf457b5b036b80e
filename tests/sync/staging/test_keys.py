"""What a record is compared by, and where each rule of likeness ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.sync.staging import numbers
from fhir_coprod.sync.staging.identity import RULES, keys
from fhir_coprod.sync.staging.numbers import LONGEST_KEY
from fhir_coprod.sync.staging.references import Bases, fitted, identifier_key


def of(**content: Any) -> dict[str, frozenset[str]]:
    return keys({"resourceType": "Patient", **content})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ({"family": "Öst", "given": ["Eva", "Maria"]}, {"ost|eva maria"}),
        ({"family": "O'Neill-Ek", "given": ["Anna Maria"]}, {"oneil ek|ana maria"}),
        ({"family": "Jönsson"}, {"ionson|"}),
        ({"family": "Joensson"}, {"ionson|"}),
        ({"family": "JONSSON"}, {"ionson|"}),
        ({"family": "Straße"}, {"strase|"}),
        ({"family": "Иванов", "given": ["Юрий"]}, {"ivanov|iuri"}),
        ({"family": "Ivanov", "given": ["Jurij"]}, {"ivanov|iuri"}),
        ({"text": "Eva Maria Öst"}, {"ost|eva maria"}),
        ({"text": "Öst, Eva Maria"}, {"ost|eva maria"}),
        ({"text": "Öst"}, None),
        ({"text": ""}, None),
        ({"text": "Al Bo", "family": "Ek", "given": ["Cy"]}, {"ek|ci"}),
        ({"family": "Ek", "given": ["E", "7"]}, {"ek|"}),
        ({"family": "Ek", "given": ["Baby Boy"]}, {"ek|"}),
        ({"family": "Ek", "given": ["Baby", "of", "Anna"]}, {"ek|"}),
        ({"family": "Ek", "given": []}, {"ek|"}),
        ({"family": "Ek", "given": [7]}, {"ek|"}),
        ({"family": "Ek", "given": ["-"]}, {"ek|"}),
        ({"family": "-", "given": ["Eva"]}, {"|eva"}),
        ({"family": 7, "given": ["Eva"]}, {"|eva"}),
        ({"given": ["Eva"]}, {"|eva"}),
        ("odd", None),
    ],
)
def test_a_name_is_family_and_given_names_in_one_spelling(name: Any, expected: set[str] | None) -> None:
    assert of(name=[name]).get("name") == (frozenset(expected) if expected else None)


@pytest.mark.parametrize(
    ("birth", "found"),
    [
        ("1970-01-02", True),
        ("1970-01", True),
        ("1970-0", False),
        ("1970", True),
        ("70", False),
        (19700102, False),
        (None, False),
    ],
)
def test_a_birth_date_may_be_partial_but_not_something_else(birth: Any, found: bool) -> None:
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
    good = {"type": "replaced-by", "other": {"reference": "Patient/2/_history/7"}}
    assert keys({"resourceType": "Patient", "link": [link, good]}, "care")["replaced-by"] == {
        "care/Patient/2"
    }


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
    odd = keys({"resourceType": "ServiceRequest", "subject": {"reference": 7}, "code": {"text": "x"}})
    assert odd.keys() == {RULES}
    named = {"resourceType": "Task", "for": {"identifier": {"system": "s", "value": "1"}}}
    assert keys(named)["subject-number"] == {"s|1"}


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


def test_keys_say_by_which_rules_they_were_made() -> None:
    mark = of()[RULES]
    assert mark == {Bases({}).numbering.mark}
    own = numbers.Numbering(numbers.Identifiers(types={"DL": numbers.Kind("nation")}))
    assert keys({"resourceType": "Patient"}, "care", Bases({}, numbering=own))[RULES] != mark


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
                        "period",
                        "end",
                        "assigner",
                        "display",
                        "coding",
                        "code",
                        "text",
                        "use",
                        "requisition",
                        "bodySite",
                        "extension",
                        "url",
                        "performer",
                        "reference",
                    ]
                ),
                x,
            )
        ),
    )
)
def test_keys_of_odd_data_never_fail(odd: object) -> None:
    for type in ("Patient", "ServiceRequest"):
        keys({"resourceType": type, **(odd if isinstance(odd, dict) else {"identifier": odd})}, "care")

"""Which identifiers name a person, and when two of them are the same number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.mappings import Mistakes
from fhir_coprod.settings import Settings
from fhir_coprod.sync.staging import numbers
from fhir_coprod.sync.staging.numbers import KINDS, LONGEST_KEY, Number

PNR = "urn:oid:1.2.752.129.2.1.3.1"
OURS = numbers.shipped()


def of(system: str, value: str, kind: str = "", birth: str = "", **more: Any) -> Number | None:
    type = {"type": {"coding": [{"system": KINDS, "code": kind}]}} if kind else {}
    return OURS.of({"system": system, "value": value, **type, **more}, birth)


@pytest.mark.parametrize(
    ("system", "mine", "theirs"),
    [
        (PNR, "188801019999", "18880101-9999"),
        (PNR, "197003029999", "19700302+9999"),
        ("http://fhir.nl/fhir/NamingSystem/bsn", "012345672", "12345672"),
        ("https://fhir.nhs.uk/Id/nhs-number", "943 476 5919", "9434765919"),
        ("http://fhir.de/sid/gkv/kvid-10", "a123456780", "A123456780"),
        ("http://hl7.org/fhir/sid/us-ssn", "123-45-6780", "123456780"),
        ("urn:oid:2.16.756.5.32", "756.1234.5678.97", "7561234567897"),
        ("urn:oid:1.2.246.21", "131052-308t", "131052-308T"),
    ],
)
def test_a_number_of_a_known_system_is_the_same_however_it_is_written(
    system: str, mine: str, theirs: str
) -> None:
    a, b = of(system, mine), of(system, theirs)
    assert a is not None
    assert b is not None
    assert a.key == b.key
    assert a.is_national


def test_the_short_form_has_the_century_of_the_birth_date_or_is_only_perhaps_the_same() -> None:
    whole, short, sure = (
        of(PNR, "188801019999"),
        of(PNR, "8801019999"),
        of(PNR, "880101-9999", birth="1888-01-01"),
    )
    assert whole is not None
    assert short is not None
    assert sure is not None
    assert sure.key == whole.key
    assert short.key == ""
    assert short.loose == whole.loose
    other = of(PNR, "880101-9999", birth="1987-01-01")
    assert other is not None
    assert other.key == "", "the date contradicts"


def test_what_does_not_look_like_a_number_of_its_system_names_nobody() -> None:
    assert of(PNR, "1970") is None
    assert of(PNR, "TF-12345") is None
    assert of("urn:x", "TF-12345") is not None


@pytest.mark.parametrize(
    "value", ["", " ", "-", "0", "0000", "9999999999", "xxxx", "Unknown", "N/A", "1234567890"]
)
def test_a_placeholder_names_nobody(value: str) -> None:
    assert of("urn:x", value) is None
    assert of(PNR, value) is None


def test_one_system_has_several_addresses() -> None:
    a = of("urn:oid:2.16.840.1.113883.4.1", "123456780")
    b = of("http://hl7.org/fhir/sid/us-ssn", "123456780")
    assert a == b is not None


def test_the_system_says_more_about_the_kind_than_the_record() -> None:
    assert of("http://ns.electronichealth.net.au/id/medicare-number", "32788511952", "NI") is None
    found = of(PNR, "197003029999", "MR")
    assert found is not None
    assert found.is_national


def test_a_kind_that_hl7_does_not_have_is_no_kind() -> None:
    local = {"coding": [{"system": "urn:local", "code": "MB"}]}
    assert of("urn:x", "77", type=local) is not None
    both = {"coding": [{"system": KINDS, "code": "NI"}, {"system": KINDS, "code": "MB"}]}
    assert of("urn:x", "77", type=both) is None


def test_a_value_has_no_bar_in_its_key_so_that_the_system_can_be_read_from_it() -> None:
    found = of("urn:x|y", "7|8")
    assert found is not None
    assert numbers.system_of(found.key) == "urn:x|y"
    assert of("urn:x", "7" + "8" * LONGEST_KEY) is None


@pytest.mark.parametrize(
    "odd",
    [
        None,
        7,
        {},
        {"system": "s"},
        {"value": "1"},
        {"system": 1, "value": "77"},
        {"system": " ", "value": "77"},
    ],
)
def test_what_is_no_identifier_names_nobody(odd: object) -> None:
    assert OURS.of(odd) is None


@pytest.mark.parametrize(
    ("assigner", "expected"),
    [
        ({"display": " North "}, "north"),
        ({"identifier": {"system": "urn:o", "value": "7"}, "display": "North"}, "urn:o|7"),
        ({"reference": "Organization/1"}, ""),
        ("North", ""),
    ],
)
def test_who_gave_a_record_number_is_known_by_identifier_or_name(assigner: Any, expected: str) -> None:
    found = of("urn:x", "77", "MR", assigner=assigner)
    assert found is not None
    assert found.assigner == expected
    person = of("urn:x", "77", "NI", assigner=assigner)
    assert person is not None
    assert person.assigner == ""


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[types]\nNN = { names = "nation" }', "ours.toml:2: types.NN: 'NN' is no code of"),
        ('[types]\nNI = { names = "state" }', "write one of nation, person, assigner, nobody"),
        ('[systems."urn:x"]\ntype = "XYZ"', "'XYZ' is no code of"),
        ('[systems."urn:x"]\npattern = "("', "pattern: no regular expression"),
        (
            '[systems."urn:x"]\n[systems."urn:y"]\nalso = ["urn:x"]',
            "urn:x is claimed by urn:x, too; keep one.",
        ),
        ('[placeholders]\ndays = ["1 January"]', "'1 January' is no month and day; write 01-01"),
        ('[systems."urn:x"]\ntyp = "NI"', "unknown key; known keys here: type, also"),
    ],
)
def test_a_mistake_in_a_file_is_a_sentence_with_its_line(text: str, said: str) -> None:
    with pytest.raises(Mistakes) as found:
        numbers.read(text.encode(), "ours.toml")
    assert any(said in one for one in found.value.all), found.value.all


def test_a_sites_own_file_stands_above_ours(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(
        '[types]\nDL = { names = "nation" }\nHC = { names = "nobody" }\n'
        '[systems."urn:ward"]\nalso = ["urn:oid:1.2.752.129.2.1.3.1"]\ntype = "JHN"\n'
        '[placeholders]\nvalues = ["okänd"]\n'
    )
    (tmp_path / "coprod.toml").write_text('[sync]\nidentifiers = "ours.toml"')
    own = numbers.load(Settings.load(tmp_path / "coprod.toml").sync.identifiers)
    kind = {"coding": [{"system": KINDS, "code": "DL"}]}
    license = own.of({"system": "urn:x", "value": "77", "type": kind})
    assert license is not None
    assert license.is_national
    assert own.of({"system": "urn:x", "value": "Okänd"}) is None
    assert own.of({"system": "urn:x", "value": "unknown"}) is None, "ours still count"
    theirs = own.of({"system": PNR, "value": "7"})
    assert theirs is not None
    assert (theirs.system, theirs.is_national) == ("urn:ward", False)
    assert own.mark != OURS.mark


@pytest.mark.parametrize("value", ["W", "W-000", "W 0", "W-9999", "WN/A"])
def test_a_placeholder_is_one_beside_signs_that_mean_nothing(tmp_path: Path, value: str) -> None:
    file = tmp_path / "ours.toml"
    file.write_text('[systems."urn:ward"]\ndrop = "W-"\nleading_zeros = false\n')
    own = numbers.load(str(file))
    assert own.of({"system": "urn:ward", "value": value}) is None
    assert own.of({"system": "urn:ward", "value": "W-71"}) is not None


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        numbers.load("/nowhere/ours.toml")
    assert numbers.load("") is OURS

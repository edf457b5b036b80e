"""Pairs in doubt and a person's word on them, by command and from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fhir_coprod.cli import app
from fhir_coprod.errors import BadRequest, Conflict
from fhir_coprod.outcome import OK
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync import alone, people
from fhir_coprod.sync.merging.matches import task_id
from fhir_coprod.sync.people import NoSuchPair, Said, Word
from fhir_coprod.sync.staging.references import Record
from tests.sync.records import patient, referral
from tests.sync.story import ids, told

SETTINGS = Settings(
    ehr=tuple(EhrSettings(name=name, url=f"https://{name}.example") for name in ("ortho", "care", "neuro"))
)
P, Q, R = Record("care", "Patient", "p"), Record("ortho", "Patient", "q"), Record("neuro", "Patient", "r")
PAIR = task_id((P, Q))


@pytest.fixture
def alike(store: Store) -> Store:
    told(
        store,
        ("care", patient("p", "19700102", gender="female", telecom=[{"system": "phone", "value": "070"}])),
        ("ortho", patient("q", address=[{"line": ["Road 1"], "city": "Town"}])),
        ("neuro", patient("r", "7", birthDate="1950-05-05", name=[{"text": "Bo Ek"}])),
    )
    return store


def decide(
    store: Store, word: Word, *names: str, by: str = "Karin Sand", settings: Settings = SETTINGS
) -> Said:
    return people.decide(store, settings, names, word, by, validate=lambda document: OK)


def patients(store: Store) -> int:
    return len(set(ids(store, "Patient").values()))


def listed(store: Store) -> list[Any]:
    with store.connect() as connection:
        return [one.to_json() for one in people.in_doubt(connection)]


def test_a_pair_is_shown_with_both_records_side_by_side(alike: Store) -> None:
    (one,) = listed(alike)
    assert (one["id"], one["why"], one["asked"]) == (PAIR, "no number in common", False)
    mine, theirs = one["records"]
    own = ids(alike, "Patient")
    assert mine == {
        "ehr": "care",
        "record": "Patient/p",
        "patient": f"Patient/{own['care/p']}",
        "name": ["Eva Öst"],
        "birthDate": ["1970-01-02"],
        "gender": ["female"],
        "identifier": ["19700102 (urn:number)"],
        "telecom": ["070"],
    }
    assert theirs["address"] == ["Road 1 Town"]
    with alike.connect() as connection:
        (found,) = people.in_doubt(connection)
    assert found.rows()[:3] == [
        ("name", "Eva Öst", "Eva Öst", True),
        ("birthDate", "1970-01-02", "1970-01-02", True),
        ("gender", "female", "", False),
    ]


def test_pairs_on_which_a_referral_depends_come_first(alike: Store) -> None:
    told(alike, ("neuro", patient("x", birthDate="1950-05-05", name=[{"text": "Bo Ek"}])))
    assert len(listed(alike)) == 2
    told(alike, ("neuro", referral("s", "Patient/x")))
    assert [one["asked"] for one in listed(alike)] == [True, False]
    with alike.connect() as connection:
        assert len(people.in_doubt(connection, asked_only=True)) == 1


@pytest.mark.parametrize(
    "names", [(PAIR,), (PAIR[:6],), ("care/p", "ortho/q"), ("ortho/Patient/q", "care/p")]
)
def test_a_person_says_who_is_one_by_pair_or_by_record(alike: Store, names: tuple[str, ...]) -> None:
    said = decide(alike, "same", *names)
    assert (said.word, said.by, said.pairs, said.carried_out) == ("same", "Karin Sand", ((P, Q),), True)
    assert patients(alike) == 2
    assert listed(alike) == []


def test_two_patients_of_ours_are_named_by_their_ids(alike: Store) -> None:
    own = ids(alike, "Patient")
    decide(alike, "same", f"Patient/{own['care/p']}", own["neuro/r"])
    assert len(set(ids(alike, "Patient").values())) == 2


def test_who_was_joined_is_parted_by_naming_two_records(alike: Store) -> None:
    decide(alike, "same", "care/p", "ortho/q")
    own = ids(alike, "Patient")["care/p"]
    with pytest.raises(BadRequest, match="Both names lead to the same records"):
        decide(alike, "different", own, f"Patient/{own}")
    decide(alike, "different", "care/p", "ortho/q")
    assert patients(alike) == 3
    assert listed(alike) == []


def test_a_patient_of_several_records_is_told_apart_from_another_whole(alike: Store) -> None:
    told(alike, ("neuro", patient("p2", "19700102")))
    said = decide(alike, "different", PAIR)
    assert len(said.pairs) == 2
    assert listed(alike) == []


def test_who_is_like_both_of_two_who_are_told_apart_is_named(alike: Store) -> None:
    told(alike, ("ortho", patient("q", "19700102")), ("neuro", patient("p2", "19700102")))
    assert patients(alike) == 2
    said = decide(alike, "different", "care/p", "ortho/q")
    assert said.alone == (Record("neuro", "Patient", "p2"),)
    assert said.to_json()["undecided"] == ["neuro/Patient/p2"]
    assert patients(alike) == 4


def test_a_word_against_an_earlier_one_is_refused_and_says_whose_it_was(alike: Store) -> None:
    decide(alike, "different", "care/p", "neuro/r", by="Omar Nyberg")
    decide(alike, "same", "care/p", "ortho/q")
    with pytest.raises(Conflict, match=r"Omar Nyberg said on \d{4}-.* that care/p and neuro/r are different"):
        decide(alike, "same", "ortho/q", "neuro/r")
    decide(alike, "same", "care/p", "neuro/r")
    assert patients(alike) == 1


@pytest.mark.parametrize("by", ["", "  ", "x" * 101])
def test_nobody_joins_without_a_name(alike: Store, by: str) -> None:
    with pytest.raises(BadRequest, match="Say who you are"):
        decide(alike, "same", PAIR, by=by)
    assert patients(alike) == 3


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("abc",), "There is no pair abc"),
        (("ffffffff",), "There is no pair ffffffff"),
        (("care/p", "care/nobody"), "There is no patient care/nobody"),
        (("care/p", "Patient/nobody"), "There is no patient Patient/nobody"),
        (("care/p", "//"), "There is no patient //"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(alike: Store, names: tuple[str, ...], said: str) -> None:
    with pytest.raises(NoSuchPair, match=said):
        decide(alike, "same", *names)


def test_one_pair_or_two_patients_are_named(alike: Store) -> None:
    for names in ((), ("care/p", "ortho/q", "neuro/r")):
        with pytest.raises(BadRequest, match="Name a pair"):
            decide(alike, "same", *names)


def test_while_a_sync_runs_a_word_is_kept_for_later(alike: Store) -> None:
    with alone.alone(alike):
        assert not decide(alike, "same", PAIR).carried_out
    assert patients(alike) == 3
    told(alike)
    assert patients(alike) == 2


def test_without_the_ehrs_in_the_settings_nothing_is_written(alike: Store) -> None:
    assert not decide(alike, "same", PAIR, settings=Settings()).carried_out
    assert patients(alike) == 3


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, store_path: str, alike: Store) -> Path:
    file = tmp_path / "coprod.toml"
    ehrs = "".join(f'[[ehr]]\nname = "{ehr.name}"\nurl = "{ehr.url}"\n' for ehr in SETTINGS.ehr)
    file.write_text(f'[store]\nurl = "{store_path}"\n{ehrs}')
    return file


def coprod(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--config", str(config), "people", *arguments])


def test_the_command_lists_decides_and_parts_again(config: Path, alike: Store) -> None:
    shown = coprod(config, "list")
    assert shown.exit_code == 0
    for word in (PAIR[:8], "no number in common", "care/p", "ortho/q", "1970-01-02", "1 to decide"):
        assert word in shown.stdout
    assert json.loads(coprod(config, "list", "--json").stdout)[0]["id"] == PAIR
    assert json.loads(coprod(config, "list", "--asked", "--json").stdout) == []

    said = json.loads(coprod(config, "same", PAIR[:8], "--by", "Karin Sand", "--json").stdout)
    assert said == {
        "word": "same",
        "by": "Karin Sand",
        "pairs": [["care/Patient/p", "ortho/Patient/q"]],
        "carried_out": True,
        "undecided": [],
    }
    assert patients(alike) == 2
    assert "no pairs in doubt" in coprod(config, "list").stdout
    parted = coprod(config, "different", "care/p", "ortho/q", "--by", "Karin Sand")
    assert parted.stdout == "Done. Recorded under the name Karin Sand.\n"
    assert patients(alike) == 3


def test_the_command_wants_a_name(config: Path) -> None:
    assert coprod(config, "same", PAIR).exit_code == 2

"""Files that say what codes mean: what is wrong in one, and what follows when a site has its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.mappings import Mistakes
from fhir_coprod.settings import Settings, WatchSettings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.reader import Reader, gather
from fhir_coprod.watch.record import words
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from tests.watch.hospital import DAY, MONDAY, Hospital

SOURCES = Path(__file__).parents[2] / "mappings" / "words"
OWN = """
title = "Ours"

[systems."urn:site:states"]
B = "booked"

[systems."http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"]
"5.1.1" = "waiting-list"

[texts]
"On  the waiting list" = "waiting-list"
"""


def coded(system: str, code: str) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code}]}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    return file


@pytest.mark.parametrize("file", sorted(SOURCES.glob("*.toml")), ids=lambda file: file.stem)
def test_each_file_of_ours_names_its_source_and_the_day(file: Path) -> None:
    head = file.read_text().partition("title =")[0]
    assert "ource" in head
    assert "2026-" in head


def test_the_six_guides_are_there() -> None:
    assert {"sdohcc", "bser", "ca-erec", "au-erequesting", "cow", "bars"} <= set(words.names())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[systems."urn:x"]\nA = "bokked"', "own.toml:2: systems.urn:x.A: 'bokked' is not known here; "),
        ('[systems.x]\nA = "booked"', "own.toml:1: systems.x: a code system is named by its URI"),
        ('[systems."urn:x"]', "own.toml:1: systems.urn:x: has no code; "),
        ('[texts]\n"a b" = "booked"\n"A  b" = "seen"', "own.toml:3: texts.A  b: says the same as another"),
        ('[codes]\nA = "booked"', "own.toml:1: codes: unknown key; known keys here: title, systems, texts, "),
        ('[openings]\n" " = "referral"', "own.toml:2: openings. : is empty; "),
    ],
)
def test_a_mistake_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Mistakes) as found:
        words.read(text.encode(), "own.toml")
    assert found.value.all[0].startswith(said)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"watch\.words .*gone\.toml: cannot be read"):
        words.load((tmp_path / "gone.toml",))


def test_two_files_of_ours_may_not_claim_one_system() -> None:
    guide = words.read(OWN.encode(), "a.toml")
    assert set(words.claimed({"a": guide, "b": guide})) == {("b", system) for system in guide.systems}


def test_a_site_adds_its_own_codes_and_wins_over_ours(own: Path) -> None:
    known, site = words.load(), words.load((own,))
    bser = coded("http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS", "5.1.1")
    assert (known.of(bser), site.of(bser)) == (("booked",), ("waiting-list",))
    ours = coded("urn:site:states", "B")
    assert (known.of(ours), site.of(ours)) == ((), ("booked",))
    assert (known.unknown(ours), site.unknown(ours)) == (("urn:site:states|B",), ())
    assert site.of({"text": "ON THE waiting  list"}) == ("waiting-list",)
    assert site.of({"coding": [{"code": "x"}], "text": "on the waiting list"}) == ()
    assert known.fingerprint != site.fingerprint


def test_odd_concepts_mean_nothing() -> None:
    known = words.load()
    for odd in (None, {}, {"coding": None}, {"coding": [{}]}, {"coding": "x"}, {"text": 7}):
        assert known.of(odd) == ()
        assert known.unknown(odd) == ()


def test_a_site_that_adds_words_sees_its_referrals_anew(tmp_path: Path, own: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as store:
        hospital = Hospital(store)
        hospital.refer()
        hospital.task("r", "accepted", MONDAY + DAY / 2, businessStatus=coded("urn:site:states", "B"))
        [before] = hospital.sweep(MONDAY + DAY)
        assert (before.stage, before.unknown) == ("accepted", ("urn:site:states|B",))
        hospital.settings = Settings(watch=WatchSettings(words=(own,)))
        [after] = hospital.sweep(MONDAY + DAY)
        assert (after.stage, after.unknown) == ("scheduled", ())
        facts = gather(store, "r", hospital.settings)
        assert assess(facts, policies.load("default"), MONDAY + DAY).stage == "scheduled"
        with store.connect() as connection:
            marks = {
                Reader(connection, settings).surroundings for settings in (Settings(), hospital.settings)
            }
        assert len(marks) == 2


def test_the_settings_name_files_relative_to_themselves(tmp_path: Path, own: Path) -> None:
    (tmp_path / "coprod.toml").write_text('[watch]\nwords = ["own.toml"]\n')
    assert Settings.load(tmp_path / "coprod.toml").watch.words == (own,)

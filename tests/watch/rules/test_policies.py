"""Policy files as people write them: what is wrong is said, with the file and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.watch.rules import policies

OURS = """
extends = "default"
name = "ours"
title = "Ours"
version = "1"
valid_from = 2026-01-01
source = "the clinic"
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("extends = [", "not valid TOML"),
        ("extends = 5", "names another policy, in quotes"),
        (OURS.replace("2026-01-01", '"x"'), "'x' is not a day"),
        (OURS + "[priority.urgent]\nfactor = -5", "factor -5 is not above 0"),
        (OURS + "[priority.urgent]\nfactor = 1e300", "at most 100"),
        (OURS + "[priority.urgent]\nfactor = inf", "at most 100"),
        (OURS + "[priority.urgent]\nfactor = nan", "not above 0"),
        (OURS + '[feeds]\nbehind_after = "0 d"', "is too short"),
        (OURS + "[alerts]\ndigest_over = -1", "is not a whole number"),
        (OURS + "[alerts]\ndigest_over = 1e400", "is not a whole number"),
        (OURS + "[alerts]\nladder = []", "name at least one"),
        (
            OURS + '[[guarantee]]\nname = "g"\nwithin = "90 d"\nvalid_from = "soon"',
            "'soon' is not a day",
        ),
        (OURS + '[pauses]\nstops = ["undecidet"]', "'undecidet' is no rule"),
        (OURS + '[pauses]\nreason = ["x"]', "unknown key 'reason' in pauses; known: reasons, stops"),
        (OURS + "[alerts]\ndigest = 3", "unknown key 'digest' in alerts"),
        (OURS + "[priority.urgent]\nfactors = 0.5", "unknown key 'factors' in priority.urgent"),
        (OURS + "[priority.now]\nfactor = 0.5", "unknown key 'now' in priority"),
        (OURS + '[[guarantee]]\nname = "g"\ntill = "seen"', "unknown key 'till' in guarantee"),
        (OURS + '[[override]]\nclocks = {}\nunit = "x"', "unknown key 'unit' in override"),
        (OURS + '[clocks]\nunacknowledged = "5 days"', "write 5 wd, 14 d, 18 w or 24 h"),
    ],
)
def test_a_mistake_in_a_policy_is_a_sentence_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        policies.load(str(file))
    assert said in str(error.value)
    assert str(file) in str(error.value)


def test_a_policy_extends_one_that_lies_beside_it_wherever_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "region.toml").write_text(OURS + '[clocks]\nunacknowledged = "7 wd"\n')
    (tmp_path / "clinic.toml").write_text('extends = "region.toml"\nname = "clinic"\n')
    monkeypatch.chdir("/")
    clinic = policies.load(str(tmp_path / "clinic.toml"))
    assert str(clinic.clocks["routine"][policies.Rule("unacknowledged")]) == "7 wd"

"""Mapping files as people write them: each mistake is said with file, line and key, and what to write."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from fhir_coprod.mappings import Mistakes
from fhir_coprod.sync.ehr import vendor
from fhir_coprod.sync.merging import merge
from fhir_coprod.sync.staging.identity import ORDERS, PEOPLE, THINGS

ROOT = Path(__file__).resolve().parents[2]


def of_vendor(text: str) -> tuple[str, ...]:
    with pytest.raises(Mistakes) as found:
        vendor.read(text.encode(), "ward.toml")
    return found.value.all


def of_merge(text: str) -> tuple[str, ...]:
    with pytest.raises(Mistakes) as found:
        merge.read(text.encode(), "merge.toml")
    return found.value.all


def queries(written: str) -> str:
    return f'[types.Task]\nfind = "by-patient"\nqueries = [[{written}]]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("page_size = [", "ward.toml: not valid TOML: Invalid value (at "),
        ("pagesize = 7", "ward.toml:1: pagesize: unknown key; known keys here: like, software, "),
        ('page_size = "7"', "ward.toml:1: page_size: write a whole number, got text in quotes."),
        ("page_size = 0", "ward.toml:1: page_size: write a whole number >= 1."),
        ('software = "Epic"', "ward.toml:1: software: write a list in [ ], got text in quotes."),
        ("# ours\n\n[typs.Task]\nfind = 1", "ward.toml:3: typs: unknown key"),
        (
            '[types.Task]\nfind = "by-hand"',
            "'by-hand' is not known here; write one of history, last-updated, ",
        ),
        ("[types.Task]\nqueries = [\n  [],\n  [[1]],\n]", "ward.toml:2: types.Task.queries: write a list"),
        ('[types.Pateint]\nfind = "none"', "no resource type 'Pateint'; did you mean 'Patient'?"),
        (
            queries('["state", "x"]'),
            "ward.toml:3: types.Task.queries: Task has no search parameter 'state' in",
        ),
        (queries('["agency", "x"]'), "Task has no search parameter 'agency' in R4"),
        (
            queries('["status", "requested,acepted"]'),
            "'acepted' is none of the codes of Task.status in R4; did ",
        ),
        (queries('["status:nott", "x"]'), "R4 has no search modifier 'nott'; did you mean 'not'?"),
        (queries('["patient.nam", "x"]'), "nothing that Task.patient refers to can be searched by 'nam'"),
        (queries('["_count", "5"]'), "page_size"),
        (queries('["_summary", "true"]'), "Task has no search parameter '_summary'"),
        ('[types.Schedule]\nfind = "by-patient"', "types.Schedule.patient_parameter: Schedule has no search"),
        ('[types.Task]\npatient_parameter = "owners"', "did you mean 'owner'?"),
        ('[types.Task]\npatient_parameter = "encounter"', "Task.encounter leads to no Patient in R4"),
        ('[codes]\nrestart = ["1"]\nignore = ["1"]', "ward.toml:3: codes.ignore: '1' is in restart, too"),
        ('[headers]\nHost = "x"', "set by the client itself"),
        ('[headers]\n"a b" = "x"', "no name of an HTTP header"),
        ('[headers]\nPrefer = "a\\r\\nb"', "one line of printable ASCII"),
    ],
)
def test_a_mistake_in_a_vendor_file_is_a_sentence_with_its_line(text: str, said: str) -> None:
    assert any(said in one for one in of_vendor(text)), of_vendor(text)


@pytest.mark.parametrize(
    "name", ["Authorization", "cookie", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token"]
)
def test_a_secret_in_a_header_is_refused_without_being_told(name: str) -> None:
    (said,) = of_vendor(f'[headers]\n{name} = "Bearer open-sesame"')
    assert f"ward.toml:2: headers.{name}: secrets never belong in a mapping file" in said
    assert "`auth`" in said
    assert "token_file" in said
    assert "sesame" not in said


def test_every_mistake_is_told_and_the_message_counts_them() -> None:
    with pytest.raises(Mistakes) as found:
        vendor.read(b'page_size = "x"\n[types.Task]\nfind = "x"\nreasn = "x"', "ward.toml")
    assert [one.split(": ")[1] for one in found.value.all] == [
        "page_size",
        "types.Task.find",
        "types.Task.reasn",
    ]
    assert "(2 more mistakes in this file.)" in found.value.message


@pytest.mark.parametrize(
    "written",
    [
        '["status", "requested,http://hl7.org/fhir/task-status|accepted"]',
        '["status:not", "completed"]',
        '["_lastUpdated", "ge2020-01-01"]',
        '["patient.identifier", "x"]',
        '["patient:Patient.name", "x"]',
        '["business-status", "any code of theirs"]',
        '["_sort", "-modified"]',
    ],
)
def test_searches_that_r4_has_are_taken(written: str) -> None:
    assert vendor.read(queries(written).encode(), "ward.toml").types["Task"].queries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[Taks]\nfill = ["status"]',
            "merge.toml:1: Taks: FHIR R4 has no resource type 'Taks'; did you mean 'Task'?",
        ),
        (
            '[Patient]\nunion = ["identifer"]',
            "merge.toml:2: Patient.union: Patient has no element 'identifer' in R4",
        ),
        ('[Patient]\nunion = ["birthDate"]', "Patient.birthDate is no list"),
        ('[Patient]\nfill = ["contact.name"]', "elements are merged whole; write 'contact'"),
        ('[Patient]\nunion = ["name"]\nfill = ["name"]', "merge.toml:3: Patient.fill: 'name' is named twice"),
        ('[Patient]\nonce_said = ["deceasedDateTime"]', "write 'deceased[x]', which stands for all of them"),
        ('[Patient]\nowner = "link"', "Patient.link names no Organization"),
        ('[Task]\nowner = "ownr"', "Task has no element 'ownr' in R4; did you mean 'owner'?"),
        ('[Task]\nnewest = "no"', "merge.toml:2: Task.newest: write true or false"),
    ],
)
def test_a_mistake_in_the_rules_of_merging_is_a_sentence_with_its_line(text: str, said: str) -> None:
    assert any(said in one for one in of_merge(text)), of_merge(text)


def test_lines_are_told_beyond_lists_and_texts_of_several_lines() -> None:
    text = 'software = [\n  "x", # [types.Task]\n]\nimplementation = ["""\na = 1\n"""]\n\ncodes.restart = 1\n'
    assert of_vendor(text) == ("ward.toml:8: codes.restart: write a list in [ ], got a whole number.",)


def test_there_is_a_rule_of_merging_for_every_type_of_which_records_can_be_one() -> None:
    assert set(merge.rules()) == PEOPLE | THINGS | ORDERS


def test_the_builder_tells_of_every_file_that_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    builder = import_module("build_mappings")
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / "colours.toml").write_text("red = 1")
    (tmp_path / "ehr").mkdir()
    (tmp_path / "ehr" / "one.toml").write_text('software = ["Ward 3"]\n[types.Tsk]\n')
    (tmp_path / "ehr" / "two.toml").write_text('software = ["Ward 4"]')
    (tmp_path / "ehr" / "three.toml").write_text('software = ["Ward 4"]')
    (tmp_path / "ehr" / "notes.txt").write_text("")
    said: list[str] = []
    list(builder.kinds(tmp_path, said))
    assert [line.removeprefix(f"{tmp_path}/").split(": ")[0] for line in said] == [
        "colours.toml",
        "ehr/notes.txt",
        "ehr/one.toml:2",
        "ehr/two.toml",
    ]
    assert "nothing reads this kind; known are ehr, identifiers, merge, words" in said[0]
    assert "three.toml claims 'Ward 4', too" in said[3]


def test_the_readme_shows_a_file_that_is_taken_and_the_sentence_about_a_mistake_in_it() -> None:
    page = (ROOT / "mappings" / "README.md").read_text()
    example = next(
        b for b in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if b.startswith("# ward.toml")
    )
    assert vendor.read(example.encode(), "ward.toml").page_size == 50
    (said,) = of_vendor(example.replace('"status"', '"state"'))
    assert f"```\n{said}\n```" in page

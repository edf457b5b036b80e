"""What is wrong in policies/ or locale/ is told before anybody is judged or told by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = 'msgid ""\nmsgstr ""\n"Language: {}\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n'


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """What scripts/build_policies.py says of a folder."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    builder = import_module("build_policies")
    return lambda folder: list(builder.mistakes(folder))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """What scripts/build_locale.py says of a folder."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    builder = import_module("build_locale")

    def compare(folder: Path) -> list[str]:
        mistakes: list[str] = []
        words = builder.catalogues(folder, mistakes)
        return [*mistakes, *builder.differences(words)]

    return compare


def test_every_policy_that_cannot_be_used_is_told(
    tmp_path: Path, judged: Callable[[Path], list[str]]
) -> None:
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    ours = 'extends = "default"\nname = "{}"\n'
    (folder / "a.toml").write_text(ours.format("a") + '[clocks]\nunacknowleged = "5 wd"\n')
    (folder / "b.toml").write_text(ours.format("b") + 'country = "XX"\n')
    (folder / "c.toml").write_text(ours.format("d"))
    system = "http://terminology.hl7.org/CodeSystem/observation-category"
    (folder / "e.toml").write_text(
        ours.format("e")
        + f'[codes]\nno-result-expected = ["{system}|lab"]\n[pauses]\nreasons = ["patients-choice"]\n'
    )
    (folder / "f.toml").write_text(ours.format("f").replace('"default"', '"g"'))
    (folder / "notes.txt").write_text("")
    told = judged(folder)
    assert [line.split(": ")[0] for line in told] == [
        *("a.toml", "b.toml", "c.toml", "e.toml", "e.toml", "f.toml", "notes.txt")
    ]
    assert "'unacknowleged' is no rule" in told[0]
    assert "no public holidays are known" in told[1]
    assert "name is 'd'" in told[2]
    assert f"'{system}|lab': not in the code system" in told[3]
    assert "'patients-choice': in no code system of profiles/" in told[4]
    assert "there is no policy 'g'; use one of a, b, c, default" in told[5]


def test_a_policy_is_judged_by_what_it_extends_there_and_not_by_what_was_compiled(
    tmp_path: Path, judged: Callable[[Path], list[str]]
) -> None:
    folder = tmp_path / "policies"
    shutil.copytree(ROOT / "policies", folder)
    default = folder / "default.toml"
    default.write_text(default.read_text().replace("[feeds]", "[feed]"))
    assert len(judged(folder)) == len(list(folder.iterdir()))


@pytest.mark.parametrize(
    ("swedish", "told"),
    [
        ('msgid "one"\nmsgstr "ett {date}"\n', ["sv.po: 'two' is missing; another language has it."]),
        (
            'msgid "one"\nmsgstr "ett {datum}"\n\nmsgid "two"\nmsgstr "två"\n',
            ["sv.po: 'one': its placeholders differ from English, which has {date}."],
        ),
        (
            'msgid "one"\nmsgstr "ett {date"\n\nmsgid "two"\nmsgstr "två"\n',
            ["sv.po: 'one': its placeholders differ from English, which has {date}."],
        ),
        (
            '#, fuzzy\nmsgid "one"\nmsgstr "ett {date}"\n\nmsgid "two"\nmsgstr ""\n',
            [
                "sv.po:6: 'one' is marked fuzzy; a patient would read it, so finish it.",
                "sv.po:9: 'two' is not translated; a patient would read it, so finish it.",
            ],
        ),
        ('msgid "one"\nmsgstr "ett {date}"\n\nmsgid "two"\nmsgstr "två"\n', []),
    ],
)
def test_every_language_says_the_same(
    tmp_path: Path, compared: Callable[[Path], list[str]], swedish: str, told: list[str]
) -> None:
    english = 'msgid "one"\nmsgstr "one {date}"\n\nmsgid "two"\nmsgstr "two"\n'
    (tmp_path / "en.po").write_text(HEADER.format("en") + english)
    (tmp_path / "sv.po").write_text(HEADER.format("sv") + swedish)
    assert compared(tmp_path) == told


def test_a_catalogue_is_of_the_language_that_its_file_names(
    tmp_path: Path, compared: Callable[[Path], list[str]]
) -> None:
    (tmp_path / "en.po").write_text(HEADER.format("sv"))
    (tmp_path / "fi.po").write_text(HEADER.format("fi") + 'msgid "one\n')
    told = compared(tmp_path)
    assert told[0] == "en.po: its header says Language: sv; write en."
    assert told[1].startswith("fi.po: cannot be read: ")

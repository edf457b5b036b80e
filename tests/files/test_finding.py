"""Which files are behind a path: folders, links, pipes, what is no file, and names of every kind."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.files.finding import Found, find, size


def names(found: list[Found]) -> list[str]:
    return [Path(one.path).name for one in found if not one.wrong and not one.same_as]


def test_a_folder_gives_its_resource_files_by_name_and_those_below(tmp_path: Path) -> None:
    for name in (
        "b.json",
        "a.ndjson.gz",
        "sub/c.jsonl",
        "D.NDJSON",
        "e.JSON.GZ",
        "x.txt",
        "package.json",
        "y.zip",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert names(find([tmp_path])) == ["D.NDJSON", "a.ndjson.gz", "b.json", "e.JSON.GZ", "c.jsonl"]
    assert size(find([tmp_path])) == 10


@pytest.mark.parametrize("kind", ["path", "link", "hard link", "folder", "linked folder"])
def test_a_file_is_read_once_however_many_names_lead_to_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in").mkdir()
    first = tmp_path / "in" / "a.json"
    first.write_text("{}")
    other = tmp_path / "other.json"
    named: list[str | Path] = [first, other]
    if kind == "path":
        named = [first, f"{tmp_path}/in/../in/a.json"]
    elif kind == "link":
        other.symlink_to(first)
    elif kind == "hard link":
        other.hardlink_to(first)
    elif kind == "folder":
        named = [tmp_path, first]
    else:
        (tmp_path / "in" / "again").symlink_to(tmp_path / "in")
        named = [first, tmp_path]
    found = find(named)
    assert names(found) == ["a.json"]
    assert [one.same_as for one in found if one.same_as] == [str(first)]


def test_links_in_circles_end_and_links_that_lead_outside_are_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside, inside / "below"):
        folder.mkdir()
    (outside / "far.json").write_text("{}")
    (inside / "a.json").write_text("{}")
    (inside / "below" / "up").symlink_to(inside)
    (inside / "elsewhere").symlink_to(outside)
    (outside / "back").symlink_to(inside)
    assert names(find([inside])) == ["a.json", "far.json"]


def test_what_lies_too_deep_for_a_path_is_told(tmp_path: Path) -> None:
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(60):
            os.mkdir("d" * 80)
            os.chdir("d" * 80)
    finally:
        os.chdir(here)
    (tmp_path / "z.json").write_text("{}")
    found = find([tmp_path])
    assert names(found) == ["z.json"]
    assert [one.wrong for one in found if one.wrong] == ["It cannot be read: file name too long."]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "dangling": (lambda path: path.symlink_to("nowhere"), "no such file"),
    "itself": (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
    "pipe": (os.mkfifo, "a pipe and was left out; to read it, name it itself"),
    "socket": (make_socket, "a socket and was left out"),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_cannot_be_read_in_a_folder_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    make, words = ODD[kind]
    make(Path("m.ndjson"))
    make(Path("m.txt"))
    for name in ("a.json", "z.json"):
        Path(name).write_text("{}")
    found = find(["."])
    assert names(found) == ["a.json", "z.json"]
    (wrong,) = [one for one in found if one.wrong]
    assert wrong.path.endswith("m.ndjson")
    assert words in wrong.wrong


def test_a_folder_that_may_not_be_read_is_told(unprivileged: Path) -> None:
    (unprivileged / "closed").mkdir(mode=0)
    (unprivileged / "a.json").write_text("{}")
    found = find([unprivileged])
    assert names(found) == ["a.json"]
    assert [one.wrong for one in found if one.wrong] == ["It cannot be read: permission denied."]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("none.json", "there is no such file or folder; correct the path"),
        ("a\0b.json", "this is no name of a file"),
        ("x" * 300, "file name too long"),
        ("circle", "too many levels of symbolic links"),
        ("/dev/zero", "this is a device"),
        ("socket", "this is a socket"),
        ("folder", "holds no file ending with .ndjson"),
    ],
    ids=lambda value: value[:9].replace("\0", "0"),
)
def test_a_path_that_leads_nowhere_stops_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("circle").symlink_to("circle")
    Path("folder").mkdir()
    make_socket(Path("socket"))
    Path("a.json").write_text("{}")
    with pytest.raises(ConfigError, match=words):
        find(["a.json", path])


@pytest.mark.parametrize("path", ["-", os.devnull, "pipe"])
def test_what_can_be_read_only_once_has_no_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    found = find([path, path])
    assert [one.is_regular for one in found] == [False, True]
    assert [bool(one.same_as) for one in found] == [False, True]
    assert size(found) is None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"\xff.json", "\\xff.json"),
        (b"a\nb.json", "a\\nb.json"),
        (b"\x1b[31mred.json", "\\x1b[31mred.json"),
        (b"\x1b]8;;x\x07y.json", "\\x1b]8;;x\\x07y.json"),
        ("\u202egnp.json".encode(), "\\u202egnp.json"),
        (b"-rf.json", "-rf.json"),
        (b"[red]x.json", "[red]x.json"),
        ("Blåklint häst.json".encode(), "Blåklint häst.json"),
    ],
)
def test_every_name_is_found_and_shown_as_one_line_of_plain_characters(
    tmp_path: Path, name: bytes, shown: str
) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(b"{}")
    found = [one for one in find([tmp_path]) if not one.wrong]
    assert [os.fsencode(one.path) for one in found] == [path]
    assert found[0].name.removeprefix(f"{tmp_path}/").startswith(shown)
    assert all(character == " " or character.isprintable() for character in found[0].name)

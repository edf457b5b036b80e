"""A file is put in its place as a whole, and nothing else is touched by that."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from fhir_coprod.files.placing import place, try_place


def write(file: Path) -> None:
    place(file, b"new")


BOTH = pytest.mark.parametrize("call", [write, try_place], ids=["place", "try_place"])


def test_a_file_is_for_its_owner_only_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b"old")
    try_place(file)
    assert file.read_bytes() == b"old"
    write(file)
    assert file.read_bytes() == b"new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@BOTH
def test_what_is_no_file_is_never_replaced(call: Callable[[Path], None], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for wrong in (pipe, Path("/dev/null"), tmp_path):
        before = wrong.stat()
        with pytest.raises(OSError, match=r"not a file|folder"):
            call(wrong)
        assert wrong.stat()[:2] == before[:2]
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    for _ in ("first", "again"):
        try_place(tmp_path / "link")
        write(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == b"new"


@BOTH
def test_files_and_links_of_others_beside_it_are_left_alone(
    call: Callable[[Path], None], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"precious")
    (tmp_path / "a.json.new").symlink_to(mine)
    call(tmp_path / "a.json")
    assert mine.read_bytes() == b"precious"
    assert (tmp_path / "a.json.new").is_symlink()


def test_two_that_place_the_same_file_do_not_hinder_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, really = tmp_path / "a.json", os.fsync

    def meanwhile(handle: int) -> None:
        monkeypatch.setattr(os, "fsync", really)
        try_place(file)
        place(file, b"other")
        really(handle)

    monkeypatch.setattr(os, "fsync", meanwhile)
    write(file)
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_is_left_behind_if_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []

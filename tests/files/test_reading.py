"""What is read from a file, whatever it holds: formats, packing, ends of lines, sizes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from fhir_coprod.files import reading
from fhir_coprod.files.finding import Found, find
from fhir_coprod.files.reading import Limits, Text, texts

A, B = b'{"resourceType":"Patient","id":"a"}', b'{"resourceType":"Patient","id":"b"}'
INDENTED = json.dumps(json.loads(A), indent=1).encode()
LINES = A + b"\n" + B + b"\n"


def read(tmp_path: Path, raw: bytes, name: str = "x.json", limits: Limits = reading.LIMITS) -> list[Text]:
    (tmp_path / name).write_bytes(raw)
    return list(texts(find([tmp_path / name])[0], io.BytesIO(), limits))


def good(found: list[Text]) -> list[tuple[int | None, bytes]]:
    return [(text.line, text.raw.strip()) for text in found if text.wrong is None]


def wrong(found: list[Text]) -> str:
    """The one thing that is wrong."""
    (issue,) = [text.wrong for text in found if text.wrong is not None]
    assert issue.is_error
    return issue.message


@pytest.mark.parametrize("name", ["x.json", "x.ndjson", "x", "x.json.gz", "x.NDJSON.GZ"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_lines_are_found_under_any_name_packed_or_not(tmp_path: Path, name: str, packed: bool) -> None:
    raw = b"\n" + A + b"\n \n" + B + b"\n\n"
    found = read(tmp_path, gzip.compress(raw) if packed else raw, name)
    assert good(found) == [(2, A), (4, B)]
    assert found[-1].read == (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("raw", "records"),
    [
        (A, [(None, A)]),
        (A + b"\n\n", [(None, A)]),
        (INDENTED, [(None, INDENTED)]),
        (b"\n\n" + INDENTED + b"\n", [(None, INDENTED)]),
        (b"not json", [(None, b"not json")]),
        (b"[" + A + b",\n" + B + b"]", [(None, b"[" + A + b",\n" + B + b"]")]),
        (A + b"\r\n" + B + b"\r\n", [(1, A), (2, B)]),
        (A + b"\n" + B, [(1, A), (2, B)]),
        (A + b"\n{cut", [(1, A), (2, b"{cut")]),
        (A + b"\n\0\n" + B, [(1, A), (2, b"\0"), (3, B)]),
        (b"\xef\xbb\xbf" + LINES, [(1, A), (2, B)]),
        (b"\xef\xbb\xbf" + INDENTED, [(None, INDENTED)]),
        (b"", [(None, b"")]),
        (b" \r\n\t\n", [(None, b"")]),
        (b"\xef\xbb\xbf", [(None, b"")]),
    ],
)
def test_a_file_is_lines_or_one_record(
    tmp_path: Path, raw: bytes, records: list[tuple[int | None, bytes]]
) -> None:
    assert good(read(tmp_path, raw)) == records
    assert good(read(tmp_path, gzip.compress(raw), "packed.json")) == records


def test_an_empty_file_of_lines_holds_nothing(tmp_path: Path) -> None:
    for raw in (b"", b"\n\n", b"   ", b"\xef\xbb\xbf\n", gzip.compress(b"")):
        assert read(tmp_path, raw, "x.ndjson") == []


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.json", A)
    return made.getvalue()


def tarred(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a.json")
        entry.size = len(A)
        archive.addfile(entry, io.BytesIO(A))
    return made.getvalue()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (zipped(), "ZIP archive; unpack it"),
        (tarred("w"), "tar archive; unpack it"),
        (tarred("w:gz"), "tar archive; unpack it"),
        (bz2.compress(A), "bzip2; unpack it, or use gzip"),
        (lzma.compress(A), "xz; unpack it, or use gzip"),
        (gzip.compress(gzip.compress(A)), "gzip twice"),
        (A.decode().encode("utf-16"), "save it as UTF-8"),
        (A.decode().encode("utf-16-be"), "save it as UTF-8"),
        (A.decode().encode("utf-32"), "save it as UTF-8"),
        (A + b"\r" + B + b"\r", "CR alone"),
    ],
    ids=["zip", "tar", "tar.gz", "bz2", "xz", "gzip twice", "utf-16", "utf-16-be", "utf-32", "CR"],
)
@pytest.mark.parametrize("name", ["x.json", "x.ndjson"])
def test_another_format_is_named_once_with_what_to_do(
    tmp_path: Path, raw: bytes, words: str, name: str
) -> None:
    found = read(tmp_path, raw, name)
    assert words in wrong(found)
    assert good(found) == []


PACKED = gzip.compress(LINES * 5_000, 1)
HALF = len(PACKED) // 2


@pytest.mark.parametrize(
    ("raw", "records", "words"),
    [
        (gzip.compress(A + b"\n") + gzip.compress(B + b"\n"), 2, ""),
        (gzip.compress(LINES) + b"\0" * 100, 2, ""),
        (gzip.compress(LINES) + b"more", 2, "not gzip, or damaged"),
        (gzip.compress(LINES)[:-4], 2, "cut off"),
        (PACKED[:HALF], 3_000, "cut off"),
        (
            PACKED[: len(PACKED) // 2] + b"\xff" * 9 + PACKED[len(PACKED) // 2 + 9 :],
            3_000,
            "cannot be read to its end",
        ),
    ],
    ids=["members", "zeros behind", "more behind", "no end", "cut", "damaged"],
)
def test_what_can_be_unpacked_is_read_and_the_rest_is_told(
    tmp_path: Path, raw: bytes, records: int, words: str
) -> None:
    found = read(tmp_path, raw, "x.ndjson.gz")
    assert len(good(found)) >= records
    if words:
        assert words in wrong(found)
    else:
        assert len(good(found)) == records


SMALL = Limits(bytes=1000, elements=50)


@pytest.mark.parametrize("piece", [64, 1 << 20])
def test_a_line_above_the_limit_is_told_with_its_length_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(reading, "_PIECE", piece)
    long = b'{"a":"' + b"x" * 3000 + b'"}'
    found = read(tmp_path, A + b"\n" + long + b"\n" + b" " * 5000 + b"\n" + B, "x.ndjson", SMALL)
    assert good(found) == [(1, A), (4, B)]
    assert "has 3,00" in wrong(found)
    assert "raise limits.record_bytes" in wrong(found)
    whole = read(tmp_path, b"{\n" + long[1:], "x.json", SMALL)
    assert good(whole) == []
    assert "3,009 bytes" in wrong(whole)
    alone = read(tmp_path, long, "x.json", SMALL)
    assert "3,008 bytes" in wrong(alone)


@pytest.mark.parametrize("blank", [b" " * 999, b" " * 5000, b"\t" * 5000])
def test_blanks_around_a_record_do_not_count_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blank: bytes
) -> None:
    monkeypatch.setattr(reading, "_PIECE", 64)
    assert good(read(tmp_path, blank + A + b"\n" + B, "x.ndjson", SMALL)) == [(1, A), (2, B)]


def test_values_are_counted_before_they_are_decoded(tmp_path: Path) -> None:
    many = b'{"a":[' + b"{}," * 100 + b"{}]}"
    found = read(tmp_path, A + b"\n" + many + b"\n" + B, "x.ndjson", SMALL)
    assert good(found) == [(1, A), (3, B)]
    assert "more than the 50 values and members" in wrong(found)


def test_memory_holds_neither_a_long_line_nor_blanks_nor_what_gzip_hides(tmp_path: Path) -> None:
    code = (
        "import io, resource, sys\n"
        "from fhir_coprod.files.finding import find\n"
        "from fhir_coprod.files.reading import Limits, texts\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for one in find(sys.argv[1:]):\n"
        "    print(len([text for text in texts(one, io.BytesIO(), Limits(bytes=1_000_000)) if text.wrong]))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)\n"
    )
    (tmp_path / "long.ndjson").write_bytes(A + b"\n" + b"x" * 30_000_000 + b"\n" + B)
    (tmp_path / "blank.ndjson").write_bytes(A + b"\n" + b" " * 30_000_000 + b"\n" + B)
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b"{\n" + b"x" * 30_000_000, 1))
    files = [str(tmp_path / name) for name in ("long.ndjson", "blank.ndjson", "bomb.json.gz")]
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, check=True)
    *faults, grown = map(int, done.stdout.split())
    assert faults == [1, 0, 1]
    assert grown < 20


def test_a_pipe_gives_what_is_written_into_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(gzip.compress(LINES)))
    writer.start()
    assert good(list(texts(find([pipe])[0], io.BytesIO()))) == [(1, A), (2, B)]
    writer.join()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_standard_input_is_read_as_a_file_is(packed: bool) -> None:
    given = io.BytesIO(gzip.compress(LINES) if packed else LINES)
    assert good(list(texts(find(["-"])[0], given))) == [(1, A), (2, B)]
    assert not given.closed


def test_a_file_that_vanishes_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(A)
    found = find([tmp_path / "x.json"])
    (tmp_path / "x.json").unlink()
    assert "no longer there" in wrong(list(texts(found[0], io.BytesIO())))


def test_a_file_becomes_a_folder_or_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(LINES)
    found = find([path])[0]
    reader = texts(found, io.BytesIO())
    assert next(reader).raw.strip() == A
    with path.open("ab") as file:
        file.write(A + b"\n")
    assert next(reader).raw.strip() == B
    path.unlink()
    path.mkdir()
    assert "cannot be read" in wrong(list(texts(found, io.BytesIO())))


def test_a_file_that_may_not_be_read_is_told(unprivileged: Path) -> None:
    (unprivileged / "x.json").write_bytes(A)
    (unprivileged / "x.json").chmod(0)
    assert "check its rights" in wrong(list(texts(find([unprivileged / "x.json"])[0], io.BytesIO())))


def test_what_was_wrong_when_it_was_found_is_told_in_its_place() -> None:
    assert wrong(list(texts(Found("x.json", wrong="It is a pipe."), io.BytesIO()))) == "It is a pipe."

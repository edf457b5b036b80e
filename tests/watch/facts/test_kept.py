"""Facts beside a standing: kept only while they hold."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

import fhir_coprod
from fhir_coprod.settings import Settings, SiteSettings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts import kept, reader
from fhir_coprod.watch.facts.kept import Sources
from fhir_coprod.watch.facts.reader import Found, Reader
from fhir_coprod.watch.facts.rows import POSTPONED, Held
from fhir_coprod.watch.record.model import Blind
from tests.watch.hospital import Hospital

UTC, AUCKLAND = ZoneInfo("UTC"), ZoneInfo("Pacific/Auckland")
NAME = "ServiceRequest/r"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        Hospital(opened).refer()
        yield opened


def packed(store: Store, *blind: Blind, zone: ZoneInfo = UTC) -> bytes | None:
    known = msgspec.structs.replace(reader.gather(store, "r"), blind=blind)
    with store.connect() as connection:
        surroundings = Reader(connection, Settings(site=SiteSettings(timezone=zone.key))).surroundings
    return kept.pack(Found(NAME, known), surroundings, asked=False)


def found(store: Store, due: int, body: bytes | None, zone: ZoneInfo = UTC) -> reader.Facts | None:
    settings = Settings(site=SiteSettings(timezone=zone.key))
    with store.connect() as connection:
        sources = Sources(Reader(connection, settings))
        return sources.kept(NAME, Held(due, "", False, b"", body))


def test_facts_are_kept_without_what_cannot_be_seen_at_present(store: Store) -> None:
    assert found(store, 5, packed(store, Blind("Task", "ortho"))) == reader.gather(store, "r")


def test_facts_that_rest_on_a_record_that_may_be_old_are_not_kept(store: Store) -> None:
    assert packed(store, Blind("Task", "ortho", record="Task/task-r")) is None


@pytest.mark.parametrize(("due", "hold"), [(0, True), (5, True), (POSTPONED, True), (-1, False), (-9, False)])
def test_facts_hold_only_until_something_new_concerns_them(store: Store, due: int, hold: bool) -> None:
    assert (found(store, due, packed(store)) is not None) is hold


def test_facts_hold_only_in_the_zone_in_which_they_were_read(store: Store) -> None:
    assert found(store, 5, packed(store, zone=AUCKLAND)) is None
    assert found(store, 5, packed(store, zone=AUCKLAND), AUCKLAND) is not None


# -- which program has judged ----------------------------------------------------------------------------

PACKAGE = Path(fhir_coprod.__path__[0])


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The watch and what it is driven by, to change something in."""
    package = tmp_path / "fhir_coprod"
    shutil.copytree(PACKAGE / "watch", package / "watch", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "validation" / "model").mkdir(parents=True)
    for beside in (*PACKAGE.glob("*.py"), *PACKAGE.glob("validation/model/*.py")):
        shutil.copy(beside, package / beside.relative_to(PACKAGE))
    return package


def judges(file: Path) -> bool:
    return file.parent.name in ("record", "rules", "facts") or file.name in (
        "alike.py",
        "formats.py",
        "readable.py",
        "watched.py",
    )


def test_facts_are_kept_for_the_program_as_it_is_installed(copy: Path) -> None:
    assert kept.digest_of(copy) == kept.program()


def test_a_change_in_a_file_that_reads_or_judges_makes_another_program_and_in_no_other(copy: Path) -> None:
    files = sorted(copy.rglob("*.py"))
    assert {file.parent.name for file in files if not judges(file)} > {
        "alerts",
        "letters",
        "live",
        "worklist",
    }
    assert len([file for file in files if judges(file)]) > 20
    for file in files:
        was = file.read_text()
        file.write_text(was + "# changed\n")
        assert (kept.digest_of(copy) != kept.program()) is judges(file), file
        file.write_text(was)


def test_a_new_file_among_those_that_judge_makes_another_program(copy: Path) -> None:
    (copy / "watch" / "rules" / "notes.txt").write_text("no part of it")
    assert kept.digest_of(copy) == kept.program()
    (copy / "watch" / "rules" / "new.py").write_text("NEW = 1\n")
    assert kept.digest_of(copy) != kept.program()


def test_facts_that_another_program_has_read_do_not_hold(store: Store) -> None:
    body = packed(store)
    assert body is not None
    mark, facts = body[:8], body[8:]
    assert found(store, 5, mark + facts) is not None
    assert found(store, 5, mark[::-1] + facts) is None

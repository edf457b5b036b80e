"""A thousand random damages to a store of a synced hospital: each is found, or changes no answer at all."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text

from fhir_coprod.errors import CoprodError
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store, opening
from fhir_coprod.store.database import Patience
from fhir_coprod.store.schema import metadata
from fhir_coprod.store.soundness import check
from fhir_coprod.store.soundness.faults import Fault
from fhir_coprod.store.writer import Writer
from fhir_coprod.sync import soundness as synced
from fhir_coprod.watch import soundness as watched
from tests import programs
from tests.peers.postgresql import Databases
from tests.store.soundness.damages import Damage, Rows, answers, dump

CI = os.environ.get("PROOF_SIZE") == "ci"
COUNT = int(os.environ.get("DAMAGES", "60" if CI else "1000"))
FIRST_SEED = int(os.environ.get("DAMAGE_SEED", "0"))

pytestmark = [pytest.mark.proof, pytest.mark.timeout(7200)]


def look(url: str, settings: Settings, *, repair: bool = False) -> list[Fault]:
    """The faults that `db check` tells."""
    base = opening.connect(url, Patience(busy=1))
    writer = Writer(base) if repair else None
    found: list[Fault] = []
    try:
        opening.check(base)
        more = (*synced.parts(settings), watched.Standings())
        check.run(base, found.append, writer=writer, more=more, recover=watched.recovered)
    except CoprodError as error:
        found.append(Fault("file", "start", error.message))
    finally:
        if writer is not None:
            writer.close()
        base.close()
    return found


def judged(url: str, settings: Settings, original: Rows, faults: list[Fault]) -> str:
    """What became of a damaged store: found and repaired, found and lost, harmless; or none of these."""
    if not faults:
        try:
            rows = dump(url)
        except Exception as error:  # noqa: BLE001 - whatever a database says of a damaged file
            return f"CALLED SOUND, unreadable: {error}"
        differing = [name for name, own in rows.items() if own != original.get(name)]
        if answers(rows) != answers(original):
            return f"CALLED SOUND, other answers: {differing}"
        if differing and watch_says(url, settings) != original_watch(settings):
            return f"CALLED SOUND, the watch says otherwise: {differing}"
        return f"not found, no answer differs: {' '.join(differing) or 'unused bytes'}"
    left = look(url, settings, repair=True)
    if left:
        if any("backup" not in fault.cure for fault in left):
            return f"REPAIR FAILED: {sorted({fault.kind for fault in left if 'backup' not in fault.cure})}"
        return "found; restore the backup"
    rows = dump(url)
    differing = [name for name, own in rows.items() if own != original[name]]
    if not differing:
        return "found; repaired as it was"
    kinds = {fault.kind for fault in faults}
    if {*differing} <= {"standing", "cursor", "setting", "guard"} and kinds & {"standing", "recoverable"}:
        return "found; judged anew by the watch"
    if differing == ["crosswalk"] and "record" in kinds:
        return "found; linked and written once more by the next sync"
    if differing == ["setting"] and "setting" in kinds:
        return "found; repaired, beside a setting that nobody reads"
    return f"REPAIRED OTHERWISE: {differing} after {sorted(kinds)}"


def watch_says(url: str, settings: Settings) -> str:
    """What the watch would say at a fixed time."""
    done = programs.run(
        *("fhir_coprod", "watch", "--json", "--now", "2026-07-01T12:00:00Z"),
        cwd=folder_of(settings),
        env={**os.environ, "COPROD_STORE__URL": url},
        timeout=300,
    )
    return done.stdout


@cache
def _said(url: str, folder: Path) -> str:
    done = programs.run(
        *("fhir_coprod", "watch", "--json", "--now", "2026-07-01T12:00:00Z"), cwd=folder, timeout=300
    )
    return done.stdout


def original_watch(settings: Settings) -> str:
    return _said(settings.store.url, folder_of(settings))


def folder_of(settings: Settings) -> Path:
    return Path(settings.store.url.removeprefix("sqlite:///")).parent


@contextmanager
def on_sqlite(original: str, folder: Path) -> Iterator[Callable[[], str]]:
    """Gives a new copy each time."""
    copy = folder / "copy.db"

    def new() -> str:
        for companion in ("", "-wal", "-shm"):
            Path(f"{copy}{companion}").unlink(missing_ok=True)
        shutil.copy(original.removeprefix("sqlite:///"), copy)
        return f"sqlite:///{copy}"

    yield new


@contextmanager
def on_postgresql(original: str, databases: Databases) -> Iterator[Callable[[], str]]:
    model = databases.new()
    Store.open(model).close()
    rows = dump(original)
    engine = opening.connect(model).make_engine()
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE " + ", ".join(rows)))
        for table in metadata.sorted_tables:
            for row in rows.get(table.name, ()):
                connection.execute(table.insert().values(row))
        connection.execute(text("SELECT setval('dead_letter_id_seq', (SELECT max(id) FROM dead_letter))"))
    engine.dispose()
    made: list[str] = []

    def new() -> str:
        while made:
            databases.drop(made.pop())
        made.append(databases.new(like=model.rpartition("/")[2]))
        return made[-1]

    yield new
    for url in (*made, model):
        databases.drop(url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_is_found_and_its_repair_is_right_or_it_is_harmless(
    synced_hospital: tuple[str, Settings], tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    url, settings = synced_hospital
    original = dump(url)
    on = (
        on_sqlite(url, tmp_path)
        if kind == "sqlite"
        else on_postgresql(url, request.getfixturevalue("databases"))
    )
    told: Counter[tuple[str, str]] = Counter()
    with on as new:
        assert look(new(), settings) == []
        for seed in range(FIRST_SEED, FIRST_SEED + COUNT):
            damaged = new()
            done = Damage(seed, damaged).do()
            verdict = judged(damaged, settings, original, look(damaged, settings))
            told[done, verdict] += 1
            print(seed, done, "→", verdict, flush=True)
    for (done, verdict), count in sorted(told.items()):
        print(count, done, "→", verdict)
    assert [key for key in told if key[1].split()[0].isupper()] == []

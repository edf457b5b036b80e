"""Several processes and threads on one store: nothing lost, nothing twice, no hole in the log."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Query, Store, Transaction, opening
from fhir_coprod.store.soundness import check
from tests import programs
from tests.programs import Program
from tests.store.writers import task


def start(mode: str, url: str, name: str, count: int) -> Program:
    return programs.start("tests.store.writers", mode, url, name, str(count), stdout=programs.PIPE)


def said(process: Program) -> list[str]:
    """What a process has acknowledged, once it has ended."""
    assert process.stdout is not None
    lines = process.stdout.read().split("\n")
    process.close()
    # A killed process may leave half a line; it counts for nothing.
    return lines[1:-1]


def test_a_follower_of_the_log_misses_nothing_while_processes_write(store_url: str) -> None:
    with Store.open(store_url) as store:
        writers = [start("pairs", store_url, f"w{n}", 60) for n in range(3)]
        seen: list[str] = []
        position = 0
        while len(seen) < 360:
            for version in store.changes(position, limit=50):
                assert version.position == position + 1
                position = version.position
                seen.append(version.id)
            assert all(writer.poll() in (None, 0) for writer in writers)
        acknowledged = [line for writer in writers for line in said(writer)]
        assert store.head() == position
        assert sorted(seen) == sorted(f"{line}-{half}" for line in acknowledged for half in "ab")
        # Both halves of a transaction stand together.
        assert all(a[:-1] == b[:-1] for a, b in zip(seen[::2], seen[1::2], strict=True))
    assert check.damage(opening.connect(store_url)) == []


def test_identical_conditional_creates_store_one(store_url: str) -> None:
    with Store.open(store_url) as store:
        writers = [start("once", store_url, f"w{n}", 40) for n in range(3)]
        created = Counter(line for writer in writers for line in said(writer))
        assert created == Counter(str(n) for n in range(40))
        assert store.search(Query.parse("Task", [("_summary", "count")])).total == 40


def test_if_match_race_has_one_winner_each_round(store_url: str) -> None:
    with Store.open(store_url) as store:
        store.write(lambda transaction: transaction.create(task("0"), id="race"))
        writers = [start("races", store_url, f"w{n}", 40) for n in range(2)]
        won = Counter(line for writer in writers for line in said(writer))
        assert won == Counter(str(n) for n in range(1, 41))
        assert store.read("Task", "race").version == 41


@pytest.mark.parametrize("held", ["an older version", "nothing"])
def test_what_a_work_has_read_is_still_the_newest_when_it_writes(postgresql_store: str, held: str) -> None:
    """Also where it writes something else, which the key of type, id and version cannot guard.

    Not on SQLite: there nobody else can write while a work runs.
    """
    with Store.open(postgresql_store) as ours, Store.open(postgresql_store) as other:
        if held == "an older version":
            ours.write(lambda transaction: transaction.put(task("older"), "read"))
        meanwhile = [lambda transaction: transaction.put(task("newest"), "read")]

        def copy(transaction: Transaction) -> None:
            read = transaction.get("Task", "read")
            while meanwhile:
                other.write(meanwhile.pop())
            transaction.create(task(read.data["identifier"][0]["value"] if read else "none"), id="copy")

        ours.write(copy)
        assert ours.read("Task", "copy").data["identifier"][0]["value"] == "newest"


@pytest.mark.parametrize("seed", range(3))
def test_what_was_acknowledged_survives_kill_9(store_url: str, seed: int) -> None:
    process = start("pairs", store_url, "w", 100_000)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(random.Random(seed).uniform(0.02, 0.5))
    process.send_signal(signal.SIGKILL)
    acknowledged = set(said(process)) - {""}
    assert check.damage(opening.connect(store_url)) == []
    with Store.open(store_url) as store:
        log = store.changes(0, limit=1_000_000)
        assert [version.position for version in log] == list(range(1, len(log) + 1))
        halves = Counter(version.id[:-2] for version in log)
        assert set(halves.values()) <= {2}
        assert acknowledged <= set(halves)
        for name in acknowledged:
            assert store.cursor(name) == int(name.removeprefix("w-"))
            assert len(store.search(Query.parse("Task", [("identifier", name)])).matches) == 2
        again = jsontext.from_data({"resourceType": "Task", "description": "life goes on"})
        assert store.write(lambda transaction: transaction.create(again)).version.position == len(log) + 1

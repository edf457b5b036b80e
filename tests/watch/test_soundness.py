"""Each kind of damage to the standings is named, and the watch judges anew what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fhir_coprod.store import Store
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.evaluate import LATEST
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.soundness import Standings
from tests.damaged import damage, look
from tests.peers.fixtures import NewStore
from tests.watch.hospital import DAY, MONDAY, Hospital

NOW = MONDAY + 40 * DAY
WATCHED, OTHER = "ServiceRequest/r", "ServiceRequest/q"


def catch_up(store: Store) -> None:
    hospital = Hospital(store)
    Watch(store, hospital.policy, hospital.settings).catch_up(NOW)


@pytest.fixture(scope="module")
def watched(new_store: NewStore) -> Path:
    """The file of a store with two referrals that the watch has judged."""
    with new_store("sqlite") as url:
        with Store.open(url, clock=lambda: NOW) as store:
            hospital = Hospital(store)
            for id in ("q", "r"):
                hospital.refer(id)
            catch_up(store)
        return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def url(watched: Path, tmp_path: Path) -> str:
    """A copy of it, for a test to damage."""
    return f"sqlite:///{shutil.copy(watched, tmp_path / 'store.db')}"


def named(url: str) -> list[tuple[str, str, str]]:
    return [(fault.kind, fault.at, fault.why) for fault in look(url, [Standings()])[0]]


def judged(url: str) -> list[tuple[object, ...]]:
    with Store.open(url) as store, store.connect() as connection:
        found = connection.exec_driver_sql("SELECT referral, interest, stage, since, due, body FROM standing")
        return sorted(map(tuple, found.all()))


def test_a_sound_store_has_no_faults(url: str) -> None:
    assert look(url, [Standings()]) == ([], [])
    assert [row[0] for row in judged(url)] == [OTHER, WATCHED]


MISSING = ("standing", "a cursor of the watch", "missing, so nobody knows what was judged")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"UPDATE standing SET stage = 'odd' WHERE referral = '{WATCHED}'", ("standing", WATCHED, "altered")),
        (f"UPDATE standing SET body = x'90' WHERE referral = '{WATCHED}'", ("standing", WATCHED, "altered")),
        (f"UPDATE standing SET seal = 1 WHERE referral = '{OTHER}'", ("standing", OTHER, "altered")),
        (f"DELETE FROM standing WHERE referral = '{WATCHED}'", ("standing", WATCHED, "missing")),
        *((f"DELETE FROM cursor WHERE name = '{name}'", MISSING) for name in (FOLLOWER, AGAIN, LATEST)),
    ],
)
def test_what_is_wrong_is_named_and_judged_anew(
    url: str, watched: Path, statement: str, expected: tuple[str, str, str]
) -> None:
    damage(url, statement)
    assert named(url) == [expected]
    mends = look(url, [Standings()])[1]
    with Store.open(url, clock=lambda: NOW) as store:
        store.write(lambda transaction: [mend(transaction) for mend in mends])
        assert named(url) == []
        catch_up(store)
    assert judged(url) == judged(f"sqlite:///{watched}")
    assert named(url) == []


def test_a_standing_of_nothing_is_named_and_dropped(url: str) -> None:
    damage(
        url,
        f"UPDATE standing SET referral = 'ServiceRequest/none' WHERE referral = '{WATCHED}'",
        f"DELETE FROM resource WHERE type = 'ServiceRequest' AND id = '{WATCHED.partition('/')[2]}'",
    )
    assert named(url) == [("standing-orphan", "ServiceRequest/none", "")]
    mends = look(url, [Standings()])[1]
    with Store.open(url) as store:
        store.write(lambda transaction: [mend(transaction) for mend in mends])
    assert named(url) == []
    assert [row[0] for row in judged(url)] == [OTHER]


@pytest.mark.parametrize(
    "meanwhile",
    [
        f"UPDATE cursor SET position = 1 WHERE name = '{AGAIN}'",
        f"UPDATE cursor SET position = 0 WHERE name = '{FOLLOWER}'",
    ],
)
def test_while_the_watch_is_not_through_none_is_missing(url: str, meanwhile: str) -> None:
    damage(url, f"DELETE FROM standing WHERE referral = '{WATCHED}'", meanwhile)
    assert look(url, [Standings()]) == ([], [])

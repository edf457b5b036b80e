"""kill -9 to `fhir-coprod sync` at any moment, while it reads from an EHR under chaos, on both databases.

A story is one store through ten kills. The hospital goes on working meanwhile. In the end, in peace, the
store must hold what one does that was never disturbed.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from fhir_coprod.store import Query, Store
from tests.kills.site import Running, Site
from tests.peers.fixtures import NewStore
from tests.sync.scripted.chaos import QUICK_TROUBLE, ChaoticEhr
from tests.sync.scripted.records import TYPES, drawn
from tests.sync.scripted.scripts import SCRIPTS
from tests.sync.scripted.syncing import picture, settings_of
from tests.sync.server import serving

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

CI = os.environ.get("PROOF_SIZE") == "ci"
KILLS = 3 if CI else 10
"""In each story."""
STORIES = 1 if CI else 10
PATIENTS = 3
LONGEST = 3.0
"""Seconds after which a sync is killed at the latest."""
CALM = 3
VENDORS = ("epic", "hapi", "medplum", "oracle-health", "openmrs", "athenahealth", "meditech")


def site(folder: Path, ehr: ChaoticEhr, url: str) -> Site:
    folder.mkdir()
    return Site(folder, settings_of(ehr, folder, url=url, patients=PATIENTS))


def killed(running: Running, after: float) -> bool:
    """Kill it after so many seconds; False if it had ended by itself before."""
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        if not running.lives:
            break
        time.sleep(0.005)
    lived = running.lives
    running.kill_all()
    return lived


def resources(store: Store) -> Counter[str]:
    """How many living resources there are of each type: nothing is there twice."""
    counts: Counter[str] = Counter()
    for type in TYPES:
        query = Query.parse(type, [("_summary", "count")], strict=True)
        counts[type] = store.search(query).total or 0
    return counts


@pytest.mark.parametrize("story", range(STORIES))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_sync_killed_at_any_moment_under_chaos_ends_as_if_undisturbed(
    tmp_path: Path, new_store: NewStore, kind: str, story: int
) -> None:
    seed = int(os.environ.get("KILL_SEED", story if CI else random.randrange(2**32)))
    chance = random.Random(seed)
    vendor = VENDORS[story % len(VENDORS)]
    ehr = ChaoticEhr(SCRIPTS[vendor], seed=seed, share=0.1, trouble=tuple(QUICK_TROUBLE))
    ehr.load(drawn(PATIENTS))
    kills = reading = ended = 0
    (tmp_path / "stores").mkdir()
    with serving(ehr), new_store(kind, tmp_path / "stores") as url, new_store("sqlite") as calm_url:
        disturbed = site(tmp_path / "disturbed", ehr, url)
        while kills < KILLS:
            asked = len(ehr.asked)
            running = disturbed.start("full-sync" if chance.random() < 0.3 else "sync")
            disturbed.running.remove(running)
            was_killed = killed(running, chance.uniform(0.1, LONGEST))
            kills, ended = kills + was_killed, ended + (not was_killed)
            reading += was_killed and len(ehr.asked) > asked
        ehr.calm = True
        codes = [disturbed.finish("full-sync")]
        while codes[-1] and len(codes) < CALM:
            codes.append(disturbed.finish("full-sync"))
        undisturbed = site(tmp_path / "undisturbed", ehr, calm_url)
        assert undisturbed.finish("sync") == 0, undisturbed.said()
        assert codes[-1] == 0, disturbed.said()[-2000:]
        with Store.open(url) as store, Store.open(calm_url) as other:
            assert picture(store) == picture(other), f"seed {seed}"
            assert resources(store) == resources(other), f"seed {seed}"
    assert "Traceback" not in disturbed.said()
    assert reading or CI, "no kill came while something was read"
    print(f"{kind}, {vendor}, seed {seed}: {kills} killed, {reading} of them after it had begun to read,")
    print(f"  {ended} ended before they could be; {dict(ehr.met)}")

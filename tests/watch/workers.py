"""`python -m tests.watch.workers URL COUNT SEED`: so many that watch one store, each killed sooner or later.

Every one watches all the time, without the lease by which `fhir-coprod worker` saves itself that. Ends when
its standard input does; says how many it killed.
"""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from fhir_coprod.errors import CoprodError
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.live.loop import Watch
from fhir_coprod.watch.rules import policies
from tests.watch.hospital import DAY, MONDAY, Hospital


def watch(url: str) -> None:
    with Store.open(url) as store:
        one = Watch(store, policies.load("default"), Settings())
        while True:
            try:
                one.check_ground(datetime.now(UTC))
                if not one.step(datetime.now(UTC)):
                    time.sleep(0.02)
            except CoprodError:
                time.sleep(0.05)  # the database was busy or away: as a worker does, try again


def start(url: str) -> int:
    process = os.fork()
    if process == 0:
        try:
            watch(url)
        finally:
            os._exit(1)
    return process


def warm_up() -> None:
    """Load what a watch loads, once for all that are forked."""
    with tempfile.TemporaryDirectory() as folder, Store.open(f"sqlite:///{Path(folder) / 's.db'}") as store:
        hospital = Hospital(store)
        hospital.refer()
        hospital.sweep(MONDAY + 20 * DAY)
        hospital.task("r", "accepted", MONDAY)
        hospital.sweep(MONDAY + 20 * DAY)


def main(url: str, count: int, seed: int) -> None:
    chance = random.Random(seed)
    warm_up()
    alive = [start(url) for _ in range(count)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    killed = 0
    while not select.select([sys.stdin], [], [], chance.uniform(0.1, 0.8))[0]:
        place = chance.randrange(count)
        os.kill(alive[place], signal.SIGKILL)
        os.waitpid(alive[place], 0)
        killed += 1
        alive[place] = start(url)
    for process in alive:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

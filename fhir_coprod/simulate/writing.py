"""Writes a simulated hospital as files: FHIR NDJSON by type, like an export at its end, and the truth."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from typing import Final, TextIO

from fhir_coprod.errors import ConfigError
from fhir_coprod.simulate.hospital import BY_NAME, staff
from fhir_coprod.simulate.life import Life, lives
from fhir_coprod.simulate.noise import Delivery, Feeds, Json, Noise
from fhir_coprod.simulate.promises import ZONE
from fhir_coprod.simulate.truth import Stall

DAYS: Final = 400
"""How long before its end the simulation begins."""
COLUMNS: Final = ("referral", "rule", "since", "stalled", "until", "department", "task", "story")


def span(last: date) -> tuple[datetime, datetime]:
    """Begin and end (six in the morning, when the night's sync is done) of a simulation."""
    end = datetime.combine(last, time(6), ZONE).astimezone(UTC)
    return end - timedelta(days=DAYS), end


def feeds_of(noise: Noise, seed: int, begin: datetime, end: datetime) -> Feeds:
    """The hospital's EHRs under a noise model."""
    return Feeds(noise, BY_NAME, seed, begin, end)


def delivered(life: Life, feeds: Feeds, seed: int) -> list[Delivery]:
    """What reached us of one life."""
    return feeds.deliver(life.versions, Random(f"{seed}/noise/{life.patient}"))


def write(
    out: Path, patients: int, seed: int, noise: Noise, last: date, progress: Callable[[], None]
) -> dict[str, int]:
    """Write the hospital into a new folder; returns how many of each type, and of each rule in the truth.

    Holds one patient in memory at a time. `load` takes the whole folder, since the truth is not in its FHIR
    files. Raises ConfigError if the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; name a new folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out} cannot be made ({error.strerror}); name another folder.") from None
    begin, end = span(last)
    feeds = feeds_of(noise, seed, begin, end)
    counts: Counter[str] = Counter()
    with ExitStack() as files:
        truth = csv.writer(files.enter_context((out / "truth.csv").open("w", newline="")))
        truth.writerow(COLUMNS)
        open_files: dict[str, TextIO] = {}

        def put(data: Json) -> None:
            type = data["resourceType"]
            if type not in open_files:
                open_files[type] = files.enter_context((out / f"{type}.ndjson").open("w"))
            open_files[type].write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")
            counts[type] += 1

        for _, resource in staff():
            put(resource)
        for life in lives(patients, seed, begin, end):
            for data in newest(delivered(life, feeds, seed), end):
                put(data)
            for stall in life.stalls:
                truth.writerow(_row(stall, end))
                counts[stall.rule] += 1
            progress()
    (out / "simulation.toml").write_text(_described(patients, seed, noise, last, feeds, end))
    return dict(sorted(counts.items()))


def newest(deliveries: list[Delivery], end: datetime) -> list[Json]:
    """Each resource as it was last known at the end."""
    found = {(d.data["resourceType"], d.data["id"]): d.data for d in deliveries if d.at <= end}
    return list(found.values())


def _row(stall: Stall, end: datetime) -> list[str]:
    until = stall.until if stall.until is not None and stall.until <= end else None
    times = [at.isoformat(timespec="seconds") if at else "" for at in (stall.since, stall.stalled, until)]
    return [stall.referral, stall.rule, *times, stall.department, stall.task, stall.story]


def _described(patients: int, seed: int, noise: Noise, last: date, feeds: Feeds, end: datetime) -> str:
    """How it was made, and what is known of its feeds: hidden types, and outages that last at the end."""
    lines = [
        "# A simulation: nobody in it ever lived.",
        f"patients = {patients}",
        f"seed = {seed}",
        f'noise = "{noise.name}"',
        f"until = {last.isoformat()}",
    ]
    for name in BY_NAME:
        down = any(begin <= end < over for begin, over in feeds.outages[name])
        hidden = ", ".join(f'"{type}"' for type in sorted(feeds.hidden[name]))
        lines += ["", "[[ehr]]", f'name = "{name}"', f"not_shown = [{hidden}]", f"down = {str(down).lower()}"]
    return "\n".join(lines) + "\n"

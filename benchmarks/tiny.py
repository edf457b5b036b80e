"""Every benchmark at a size of seconds, to see that it still runs: what it then says means nothing.

Servers that take a minute to start or to install are left out.
"""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, object]] = {
    "cost_search": {
        "SIZES": (500, 1_000, 2_000),
        "AGAIN": (((2_000, 4_000, 8_000), 1),),
        "RUNS": 1,
        "EVERY": 60,
    },
    "endpoint": {"READS": 40, "CREATES": 8, "SEARCHES": 8, "TRANSACTIONS": 2},
    "endurance": {"PATIENTS": 20, "EVERY": 0.5, "BURST": 2.0, "REST": 1.0, "SETTLE": 1.0},
    "growth": {"SIZES": (600, 1_200), "TIMES": 8},
    "identity": {"POPULATIONS": 20},
    "live": {"REFERRALS": 200, "RATE": 40, "SECONDS": 1, "QUESTIONS": 40, "QUIET": 1},
    "references": {"SLOW_TO_START": False},
    "store": {"ALONE": 4, "TOGETHER": 20, "CHUNK": 10, "READS": 20, "SEARCHES": 4},
    "sync": {"COPIES": 1},
    "sync_scale": {"SIZES": (200, 400)},
    "validation": {
        **{"SECONDS": 0.02, "VARIANTS": 4, "STEP": 4, "WARM_UP": 4, "OBSERVATIONS": 40},
        "TYPES": ("CarePlan", "Task"),
    },
    "watch": {"SECONDS": 0.02, "COPIES": 1, "REFERRALS": 200},
    "watch_growth": {"SIZES": (200, 400), "SWEEPS": 4},
    "watch_orders": {"SIZES": (10, 40), "ORDERS": 40, "MORE": 3},
}
RESOURCES = 200
ROUNDS = 1


def shrink(area: str, names: dict[str, Any]) -> None:
    """Put the sizes of an area in place of the real ones, among the names of its module."""
    assert SIZES[area].keys() <= names.keys(), f"{area} has no such size"
    names.update(SIZES[area])

"""Turns the counts of the worlds into the figures that are kept, and into their part of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any, Final

from evidence.figures import Figures
from evidence.hidden import ENDS, Hidden
from evidence.measure import DAYS, wilson
from evidence.silence import KINDS
from evidence.tables import number, share, table
from evidence.worlds import Count
from fhir_coprod.simulate.hospital import ALL
from fhir_coprod.simulate.writing import DAYS as SIMULATED_DAYS

WAY_NAMES: Final = {"before": "before", "after": "after", "settings": "after, “no Tasks” said"}
PER_DAY: Final = 25
"""Referrals that a department writes a day in the hospital for which the alerts of a day are given."""
_SHOWN: Final = 5


def world_figures(world: str, seed: int, ways: Mapping[str, Count]) -> Figures:
    """Everything that the page says about one world."""
    return {"world": world, "seed": seed, "ways": {way: _figures(count) for way, count in ways.items()}}


def _figures(count: Count) -> Figures:
    return {
        "referrals": count.referrals,
        "orders": count.orders,
        "assessments": count.assessments,
        "true": count.true,
        "found": count.found,
        "alerts": count.alerts,
        "right": count.right,
        "sensitivity": wilson(count.found, count.true),
        "ppv": wilson(count.right, count.alerts),
        "told": {
            "true": count.told_true,
            "found": count.told_found,
            "alerts": count.told_alerts,
            "right": count.told_right,
            "sensitivity": wilson(count.told_found, count.told_true),
            "ppv": wilson(count.told_right, count.told_alerts),
        },
        "false a day": _a_day(count.alerts - count.right, count),
        "false of the patient told a day": _a_day(count.told_alerts - count.told_right, count),
        "on orders": sum(count.on_orders.values()),
        "on orders a day": _a_day(sum(count.on_orders.values()), count),
        "false by rule": dict(count.false.most_common(_SHOWN)),
        "missed by rule": dict(count.missed.most_common(_SHOWN)),
        "scopes": dict(sorted(count.scopes.items())),
        "listed": dict(sorted(count.listed.items())),
        "hidden": _hidden(count.hidden),
    }


def _a_day(alerts: int, count: Count) -> float:
    """A number of alerts of the last days, per department and day where each department writes PER_DAY
    referrals a day."""
    written = count.referrals / len(ALL) / SIMULATED_DAYS
    return alerts / len(ALL) / DAYS * PER_DAY / written if written else 0.0


def _hidden(found: Sequence[Hidden]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for kind in KINDS:
        own = [one for one in found if one.kind == kind]
        days = sorted(one.days for one in own)
        if days:
            tenth = quantiles(days, n=10, method="inclusive")[8] if len(days) > 1 else days[0]
            figures[kind] = {
                "referrals": len(own),
                "median": median(days),
                "90 %": tenth,
                "max": days[-1],
                "ends": {end: sum(one.end == end for one in own) for end in ENDS},
            }
    return figures


# -- the page -----------------------------------------------------------------------------------------------


def worlds_table(worlds: Mapping[str, Figures]) -> str:
    """Found, right and false alerts in each world, before and after."""
    head = [
        "world",
        "",
        "found",
        "right",
        "false alerts a department and day",
        "`patient-not-informed`: found",
        "right",
        "false a department and day",
        "of all false ones, about in-house orders",
    ]
    rows = [
        [
            f"`{name}`" if way == "before" else "",
            WAY_NAMES[way],
            share(found["sensitivity"]),
            share(found["ppv"]),
            f"{found['false a day']:.2f}",
            share(found["told"]["sensitivity"]),
            share(found["told"]["ppv"]),
            f"{found['false of the patient told a day']:.2f}",
            f"{found['on orders a day']:.2f}" if found["orders"] else "–",
        ]
        for name, world in worlds.items()
        for way, found in world["ways"].items()
    ]
    return table(head, rows)


def false_and_missed(worlds: Mapping[str, Figures]) -> str:
    """Which rules the false alerts and the missed stalls of each world belong to, as shipped."""
    rows = [
        [f"`{name}`", _by_rule(found["false by rule"]), _by_rule(found["missed by rule"])]
        for name, world in worlds.items()
        for found in (world["ways"]["after"],)
    ]
    return table(["world, after", "false alerts", "stalls that were not found"], rows)


def _by_rule(counts: Mapping[str, int]) -> str:
    return ", ".join(f"`{rule}` {number(count)}" for rule, count in counts.items()) or "–"


def hidden_table(worlds: Mapping[str, Figures]) -> str:
    """What each kind of silence hides, as shipped."""
    head = ["world", "kind of silence", "referrals", "of 1,000", "days, median", "90 %", "longest"]
    head += ["ended by an alert", "on the list", "done", "never"]
    rows = []
    for name, world in worlds.items():
        found = world["ways"]["after"]
        for place, (kind, hidden) in enumerate(found["hidden"].items()):
            rows.append(
                [
                    "" if place else f"`{name}`",
                    KINDS[kind],
                    number(hidden["referrals"]),
                    f"{1000 * hidden['referrals'] / found['referrals']:.1f}",
                    *(f"{hidden[key]:.0f}" for key in ("median", "90 %", "max")),
                    *(number(hidden["ends"][end]) for end in ENDS),
                ]
            )
    return table(head, rows)


def harmless(worlds: Mapping[str, Figures]) -> str:
    """The kinds of silence that hid nothing, in words."""
    kinds = {kind for world in worlds.values() for kind in world["ways"]["after"]["hidden"]}
    none = [words for kind, words in KINDS.items() if kind not in kinds]
    return f"No referral that was lost was hidden by: {'; '.join(none)}." if none else ""


def orders_said(worlds: Mapping[str, Figures]) -> str:
    """What the watch made of the in-house orders, as shipped."""
    said = []
    for name, world in worlds.items():
        found = world["ways"]["after"]
        if not found["orders"]:
            continue
        whole = sum(found["scopes"].values())
        parts = [f"{100 * count / whole:.1f} % {scope}" for scope, count in found["scopes"].items() if scope]
        left_open, referrals = (number(found["listed"].get(what, 0)) for what in ("orders", "referrals"))
        said.append(
            f"- `{name}`: of {number(found['orders'])} in-house orders {', '.join(parts)}; on the last"
            f" morning {left_open} of them, which somebody left open, stand on the lists of what is silent"
            f" for too long, beside {referrals} referrals."
        )
    return "\n".join(said) + "\n" if said else ""


def world_sizes(worlds: Mapping[str, Figures]) -> str:
    """How large the worlds were."""
    first = next(iter(worlds.values()))["ways"]["before"]
    orders = max((world["ways"]["before"]["orders"] for world in worlds.values()), default=0)
    return f"{number(first['referrals'])} referrals each" + (
        f", with {number(orders)} in-house orders where there are any" if orders else ""
    )


def world_summary(worlds: Mapping[str, Figures]) -> str:
    """A summary for the terminal."""
    return "\n".join(
        f"{name}, {WAY_NAMES[way]}: found {share(found['sensitivity'])}; right {share(found['ppv'])}; "
        f"false a department and day {found['false a day']:.2f}"
        for name, world in worlds.items()
        for way, found in world["ways"].items()
    )

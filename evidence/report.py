"""Writes docs/evidence.md from the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Template

from evidence import world_figures as of_worlds
from evidence.figures import Figures, apart
from evidence.tables import share, table
from fhir_coprod.simulate.hospital import ALL
from fhir_coprod.simulate.writing import DAYS as SIMULATED_DAYS


def page(known: Mapping[str, Figures], worlds: Mapping[str, Figures]) -> str:
    """The whole page: the words of page.md, with the figures filled in.

    known:  the figures of each noise model
    worlds: those of each world; none leaves that part out
    """
    first = next(iter(known.values()))
    words = Template(Path(__file__).with_name("page.md").read_text(), keep_trailing_newline=True)
    return words.render(
        referrals=f"{first['referrals']:,}",
        patients=f"{first['patients']:,}",
        seed=first["seed"],
        days=first["days"],
        per_day=f"{first['referrals'] / SIMULATED_DAYS / len(ALL):.1f}",
        whole=_whole(known),
        rules="\n".join(_rules(noise, found) for noise, found in known.items()),
        query=_beside_query(known),
        delay=_delay(known),
        alerts=_alerts(known),
        worlds=of_worlds.worlds_table(worlds) if worlds else "",
        sizes=of_worlds.world_sizes(worlds) if worlds else "",
        orders=of_worlds.orders_said(worlds) if worlds else "",
        by_rule=of_worlds.false_and_missed(worlds) if worlds else "",
        hidden=of_worlds.hidden_table(worlds) if worlds else "",
        harmless=of_worlds.harmless(worlds) if worlds else "",
        per_department=of_worlds.PER_DAY,
    )


def summary(known: Mapping[str, Figures]) -> str:
    """A summary for the terminal."""
    lines = []
    for noise, found in known.items():
        whole = found["whole"]
        lines.append(
            f"{noise}: {found['referrals']:,} referrals; found {share(whole['sensitivity'])} of "
            f"{whole['true']:,} stalls; right {share(whole['ppv'])} of {whole['alerts']:,} alerts"
        )
    return "\n".join(lines)


def _whole(known: Mapping[str, Figures]) -> str:
    rows = []
    for noise, found in known.items():
        whole = found["whole"]
        told = found["rules"].get("patient-not-informed")
        rows.append(
            [
                f"`{noise}`",
                f"{whole['true']:,}",
                share(whole["sensitivity"]),
                f"{whole['alerts']:,}",
                share(whole["ppv"]),
                share(told["sensitivity"]) if told else "–",
                share(told["ppv"]) if told else "–",
            ]
        )
    head = [
        "feeds",
        "stalls",
        "found",
        "alerts",
        "right",
        "`patient-not-informed`: found",
        "right",
    ]
    return "## In one table\n\n95 % confidence intervals (Wilson) in brackets.\n\n" + table(head, rows)


def _rules(noise: str, found: Figures) -> str:
    rows = []
    for name, rule in found["rules"].items():
        rows.append(
            [
                f"`{name}`" + (" (apart)" if apart(name) else ""),
                f"{rule['true']:,}",
                f"{rule['short']:,}",
                share(rule["sensitivity"]),
                f"{rule['alerts']:,}",
                share(rule["ppv"]),
                _hours(rule["delay median"]),
                _hours(rule["delay 90 %"]),
            ]
        )
    head = ["rule", "stalls", "over by morning", "found", "alerts", "right", "delay, median", "90 %"]
    return f"### By rule, `{noise}` feeds\n\n" + table(head, rows)


def _hours(hours: float | None) -> str:
    return "–" if hours is None else f"{hours:.0f} h"


def _beside_query(known: Mapping[str, Figures]) -> str:
    rows = []
    for noise, found in known.items():
        for who in ("watch", "query"):
            census = found["census"][who]
            rows.append(
                [
                    f"`{noise}`",
                    who,
                    f"{census['listed']:,}",
                    share(census["sensitivity"]),
                    share(census["ppv"]),
                ]
            )
    head = ["feeds", "", "referrals listed", "of what is stalled", "stalled of what is listed"]
    said = "; ".join(
        f"`{noise}`: {found['census']['missed']:,} missed, of which "
        f"{found['census']['missed and said so']:,} stand on the list of what cannot be watched"
        for noise, found in known.items()
    )
    return table(head, rows) + f"\n{said}.\n"


def _delay(known: Mapping[str, Figures]) -> str:
    rows = [
        [f"`{noise}`", _hours(found["whole"]["delay median"]), _hours(found["whole"]["delay 90 %"])]
        for noise, found in known.items()
    ]
    return table(["feeds", "median", "90 %"], rows)


def _alerts(known: Mapping[str, Figures]) -> str:
    rows = [
        [
            f"`{noise}`",
            f"{found['alerts']['per department and day']:.1f}",
            f"{found['alerts']['follow-ups per department and day']:.1f}",
            f"{max(found['alerts']['by department'].values(), default=0):.1f}",
        ]
        for noise, found in known.items()
    ]
    head = ["feeds", "alerts", "follow-ups", "alerts at the busiest department"]
    return table(head, rows)

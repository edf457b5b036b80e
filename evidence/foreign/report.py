"""Writes docs/foreign-hospital.md from the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, Template

from evidence.foreign.planted import Lost
from evidence.foreign.ways import WAYS
from evidence.measure import wilson

Figures = dict[str, Any]
NAMED = ("alert", "board", "another rule", "silent list", "nothing")
HOW = {
    "alert": "alert",
    "board": "board",
    "another rule": "alert of another rule",
    "silent list": "only on the list of silent ones",
    "nothing": "nothing",
}


def page(found: Figures) -> str:
    """The whole page: the words of page.md, with the figures filled in."""
    first = found["planted"][0]
    shares, alone, http = found["shares"], Counter(found["alone"]), Counter(found["http"])
    words = Template(
        Path(__file__).with_name("page.md").read_text(), keep_trailing_newline=True, undefined=StrictUndefined
    )
    return words.render(
        hospital=found["hospital"],
        seeds=found["seeds"],
        now=found["now"],
        in_house_each=first["in-house"],
        in_house=sum(one["in-house"] for one in found["planted"]),
        in_house_claimed=sum(one["in-house claimed"] for one in found["planted"]),
        in_house_counted=_counted(found["planted"]),
        ways=_ways(),
        lost=_lost(found["planted"]),
        lost_said=_lost_said(found["planted"]),
        good=_good(found["planted"]),
        apart=sum(counts.get("not to be told apart", 0) for counts in _stages(found["planted"]).values()),
        site=_lost(found["planted, site"]),
        site_said=_site_said(found["planted, site"]),
        shares=_shares(shares),
        http=http,
        http_same=percent(http["same"], http["referrals"]),
        one_kind=f"{found['one kind']:.0%}".replace("%", " %"),
        kinds=_kinds(found["kinds"]),
        alone=alone,
        alone_some=alone["runs that changed some"],
        alone_elsewhere=alone["changed elsewhere"],
        elsewhere=sum(
            each.get("changed elsewhere", 0) for each in (*shares.values(), *found["kinds"].values())
        ),
        unassessed=sum(each.get("not assessed", 0) for each in (*shares.values(), *found["kinds"].values())),
        examples_of=found["examples of"],
        examples=_examples(found["examples"]),
    )


def percent(part: int, of: int) -> str:
    return f"{100 * part / of:.1f} %" if of else "–"


def _interval(part: int, of: int) -> str:
    share, low, high = wilson(part, of)
    return f"{100 * share:.1f} % ({100 * low:.1f}–{100 * high:.1f})" if of else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _stages(worlds: Sequence[Figures]) -> dict[str, Counter[str]]:
    """The counts of all seeds, by stage."""
    return {
        stage.value: sum((Counter(one["stages"][stage.value]) for one in worlds), Counter[str]())
        for stage in Lost
    }


def named(worlds: Sequence[Figures]) -> tuple[int, int, int]:
    """How many of the lost have an alert, how many are on the board, and how many there are."""
    whole = sum(_stages(worlds).values(), Counter[str]())
    return whole["alert"], whole["board"], whole["lost"]


def _ways() -> str:
    rows = [
        [
            way.name,
            way.like,
            "yes" if way.task else "–",
            {"code": "as a code", "": "–"}.get(way.booked, "yes"),
            "yes" if way.told else "–",
        ]
        for way in WAYS
    ]
    return _table(["department", "writes like", "Task", "booking", "word to the patient"], rows)


def _lost(worlds: Sequence[Figures]) -> str:
    stages = _stages(worlds)
    shown = [how for how in NAMED if how in ("alert", "board") or any(c[how] for c in stages.values())]
    rows = [
        [name, str(counts["lost"]), *(str(counts[how]) for how in shown)] for name, counts in stages.items()
    ]
    whole = sum(stages.values(), Counter[str]())
    rows.append(["**all**", *(f"**{whole[how]}**" for how in ("lost", *shown))])
    return _table(["lost at", "lost", *(HOW[how] for how in shown)], rows)


def _lost_said(worlds: Sequence[Figures]) -> str:
    alerts, board, lost = named(worlds)
    said = (
        f"**{_interval(alerts + board, lost)} of the lost are named**, {percent(alerts, lost)} by an alert."
    )
    missing: Counter[str] = sum((Counter(one["not alerted"]) for one in worlds), Counter())
    if not missing:
        return said
    each = "; ".join(
        f"{stage}, {way} ({scope}): {count}"
        for (stage, way, scope), count in sorted((tuple(key.split("|")), n) for key, n in missing.items())
    )
    return f"{said} Those without one, by stage, department and scope: {each}."


def _good(worlds: Sequence[Figures]) -> str:
    stages = _stages(worlds)
    good = sum(counts["good"] for counts in stages.values())
    claimed = sum(counts["good claimed"] for counts in stages.values())
    by: Counter[tuple[str, str]] = Counter()
    for one in worlds:
        for key, count in one["good claimed"].items():
            way, rule = key.split("|")
            by[way, rule] += count
    rows = [[way, f"`{rule}`", str(count)] for (way, rule), count in sorted(by.items())]
    return f"An alert is raised about {claimed} of {good}:\n\n" + _table(
        ["department", "rule", "referrals"], rows
    )


def _site_said(worlds: Sequence[Figures]) -> str:
    alerts, board, lost = named(worlds)
    stages = _stages(worlds)
    good = sum(counts["good"] for counts in stages.values())
    claimed = sum(counts["good claimed"] for counts in stages.values())
    return (
        f"{_interval(alerts + board, lost)} named; an alert about {claimed} of {good} good ones, and about "
        f"{sum(one['in-house claimed'] for one in worlds)} in-house orders."
    )


def _counted(worlds: Sequence[Figures]) -> str:
    counted = sum(one["in-house counted"] for one in worlds)
    return f" ({counted} are counted per department: diagnostic orders without a result, or not reviewed)"


def _shares(shares: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for share, plain in shares.items():
        counts = Counter(plain)
        rows.append(
            [
                f"{100 * float(share):.0f} %",
                f"{counts['dirty']:,} of {counts['records']:,}",
                percent(counts["back"], counts["readable"]),
                _interval(counts["same"], counts["referrals"]),
                _interval(counts["stalls still"], counts["stalls"]),
                _interval(counts["lost named"], counts["lost"]),
            ]
        )
    head = ["dirty", "records", "read back", "same", "stalls still named", "lost still named"]
    return _table(head, rows)


def _kinds(kinds: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for kind, plain in kinds.items():
        counts = Counter(plain)
        rows.append(
            [
                kind,
                f"{counts['dirty']:,}",
                percent(counts["back"], counts["readable"]),
                percent(counts["same"], counts["referrals"]),
                percent(counts["stalls still"], counts["stalls"]),
                f"{100 * counts['added'] / counts['dirty']:.1f}" if counts["dirty"] else "–",
            ]
        )
    return _table(["kind", "records", "read back", "same", "stalls still named", "more alerts"], rows)


def _examples(shares: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for share, plain in shares.items():
        counts = Counter(plain)
        rows.append(
            [
                f"{100 * float(share):.0f} %",
                f"{counts['records']:,}",
                f"{counts['dirty']:,}",
                f"{counts['readable']:,}",
                percent(counts["back"], counts["readable"]),
            ]
        )
    return _table(["dirty", "records", "of them dirty", "can be read", "read back"], rows)

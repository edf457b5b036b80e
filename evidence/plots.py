"""Draws the pictures of docs/evidence.md, as small SVG."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from evidence.figures import STEPS, Figures

COLOURS = {"clean": "#17506b", "usual": "#c77700", "bad": "#a8321f"}
PUBLISHED_PPV = 0.601
"""Meyer 2017, PMC5481223: a comparable electronic trigger."""

# The same counts must give the same bytes.
plt.rcParams.update(
    {"svg.hashsalt": "fhir-coprod", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
)
plt.rcParams.update({"axes.spines.right": False, "font.family": "sans-serif", "legend.frameon": False})


def draw(known: dict[str, Figures], worlds: dict[str, Figures], folder: Path) -> None:
    """Draw all pictures."""
    if worlds:
        _by_world(worlds, folder / "evidence-worlds.svg")
    _by_rule(known, folder / "evidence-rules.svg")
    _beside_query(known, folder / "evidence-query.svg")
    _delay(known, folder / "evidence-delay.svg")


def _by_rule(known: dict[str, Figures], path: Path) -> None:
    names = sorted({name for found in known.values() for name in found["rules"]}, reverse=True)
    figure, axes = plt.subplots(1, 2, figsize=(9, 6.2), sharey=True)
    for axis, what, title in zip(
        axes, ("sensitivity", "ppv"), ("found of what stalls", "right of what is alerted"), strict=True
    ):
        for shift, (noise, found) in enumerate(known.items()):
            _dots(axis, names, found, what, noise, 0.22 * (1 - shift))
        axis.set_title(title, fontsize=10)
        axis.set_xlim(-0.02, 1.02)
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes[1].axvline(PUBLISHED_PPV, color="#666666", linestyle=":", linewidth=1)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].legend(loc="lower left", fontsize=8)
    _save(figure, path, "Share found and share right by rule, with 95 % confidence intervals; simulation")


def _dots(axis: Axes, names: list[str], found: Figures, what: str, noise: str, shift: float) -> None:
    for place, name in enumerate(names):
        if name not in found["rules"]:
            continue
        share, low, high = found["rules"][name][what]
        if share == share:
            colour = COLOURS[noise]
            axis.plot([low, high], [place + shift] * 2, color=colour, linewidth=1)
            axis.plot(
                share, place + shift, "o", color=colour, markersize=3.5, label=noise if not place else None
            )


def _beside_query(known: dict[str, Figures], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), sharey=True)
    labels = [f"{who}, {noise} feeds" for noise in known for who in ("watch", "query")]
    for axis, what, title in zip(
        axes, ("sensitivity", "ppv"), ("listed of what is stalled", "stalled of what is listed"), strict=True
    ):
        for place, (noise, who) in enumerate((n, w) for n in known for w in ("watch", "query")):
            share, low, high = known[noise]["census"][who][what]
            colour = COLOURS[noise] if who == "watch" else "#aaaaaa"
            axis.barh(place, share, color=colour, height=0.7)
            axis.plot([low, high], [place, place], color="#222222", linewidth=1.2)
        axis.set_xlim(0, 1)
        axis.set_title(title, fontsize=10)
    axes[1].axvline(PUBLISHED_PPV, color="#222222", linestyle=":", linewidth=1)
    axes[0].set_yticks(range(len(labels)), labels)
    axes[0].invert_yaxis()
    _save(
        figure,
        path,
        "Watch beside a query for open referrals older than 30 days, on the last morning; simulation",
    )


def _delay(known: dict[str, Figures], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(5.5, 2.8))
    for noise, found in known.items():
        whole = found["whole"]
        shares = [count / whole["true"] for count in whole["delays"]]
        axis.plot(range(len(STEPS)), shares, "o-", color=COLOURS[noise], markersize=3.5, label=noise)
    axis.set_xticks(range(len(STEPS)), [f"{step} h" for step in STEPS])
    axis.set_ylim(0, 1.02)
    axis.set_ylabel("stalls alerted by then")
    axis.set_xlabel("since it became a stall")
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.legend(fontsize=8)
    _save(figure, path, "Share of stalls that were alerted, by hours since they became stalls; simulation")


def _by_world(worlds: dict[str, Figures], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    names = list(worlds)
    for shift, (way, colour) in enumerate((("before", "#aaaaaa"), ("after", COLOURS["clean"]))):
        ways = [worlds[name]["ways"][way] for name in names]
        places = [place + 0.38 * (shift - 0.5) for place in range(len(names))]
        false = [found["false a day"] + found["false of the patient told a day"] for found in ways]
        axes[0].barh(places, false, color=colour, height=0.36, label=way)
        for place, found in zip(places, ways, strict=True):
            part, low, high = found["sensitivity"]
            axes[1].barh(place, part, color=colour, height=0.36)
            axes[1].plot([low, high], [place, place], color="#222222", linewidth=1.2)
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(left=0)
    axes[0].set_title("false alerts a department and day", fontsize=10)
    axes[1].set_xlim(0, 1)
    axes[1].set_title("found of what stalls", fontsize=10)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8)
    _save(figure, path, "False alerts and share found in each world, before and after; simulation")


def _save(figure: plt.Figure, path: Path, title: str) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Title": title})
    plt.close(figure)

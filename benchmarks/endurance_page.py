"""docs/endurance.md and its picture, from what the endurance run has seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.endurance_measures import TOLERATED, Trend, last_half, percentile

if TYPE_CHECKING:
    from benchmarks.endurance import Results

DATABASE = "PostgreSQL, all"
WINDOW = 60.0
"""Seconds that one point of the picture of latencies stands for."""
GROUPS = {
    "read": ("read", "vread"),
    "search": ("search", "search by any words"),
    "create, update, patch": ("create", "update", "patch", "conditional create", "delete"),
    "transaction": ("transaction",),
    "$everything": ("$everything",),
    "board": ("page",),
}


def under_load(results: Results) -> tuple[list[float], dict[str, list[float | None]]]:
    """Times and memory of the steady load alone."""
    places = [place for place, phase in enumerate(results.phases) if phase == "load"]
    memory = {name: [sizes[place] for place in places] for name, sizes in results.memory.items()}
    return [results.seconds[place] for place in places], memory


def in_words(found: Trend | None) -> str:
    if found is None:
        return "too short to say"
    return (
        f"{found.verdict}: {found.level:.0f} MB, {found.slope:+.1f} MB an hour"
        f" ({found.low:+.1f} to {found.high:+.1f})"
    )


# ------------------------------------------------------------------------------------------------- the page


def text(results: Results, found: Mapping[str, Trend | None]) -> str:
    setting = results.setting
    times, _ = under_load(results)
    lasted = (max(times) - min(times)) / 60 if times else 0.0
    judged = (max(times) - last_half(times)) / 60 if times else 0.0
    lines = [
        "# An hour under load",
        "",
        "Written by `python -m benchmarks.endurance`:"
        f" `serve --workers {setting['workers']}` with its jobs on {setting['database']},"
        f" {setting['patients'] * 10:,} records, {setting['clients']} clients that together send"
        f" {setting['rate']:g} requests in a second, for {lasted:.0f} minutes"
        f"{_shorter(lasted, setting['minutes'])}. They read, search, create, update, patch, delete, send"
        " transactions and batches, page through histories, open the board, send what is wrong, gzipped, or"
        " half, ask what nobody has asked before, and leave before their answer. Clients, server and database"
        " share one machine. In the end, a burst as fast as it goes, and a rest.",
        "",
        *([setting["note"], ""] if setting.get("note") else []),
        f"Taken on {setting['begun']}.",
        "",
        "![Memory, descriptors and threads of each process, and latency, over time](endurance.svg)",
        "",
        "## Memory",
        "",
        "MB (10⁶ bytes) that a process shares with nobody. The trend is a straight line through the last"
        f" {judged:.0f} minutes of the load, with its 95 % interval; *flat* says that it may grow by no more"
        f" than {TOLERATED:g} MB an hour, *grows* that it surely grows and perhaps by more, *undecided*"
        " neither.",
        "",
        "| process | at the start | under load | most in the burst | after the rest | MB an hour | verdict |",
        "|---|---:|---:|---:|---:|---:|---|",
        *(_memory_row(results, name, found.get(name)) for name in sorted(results.memory)),
        "",
        *_replaced(results),
        "## Descriptors and threads",
        "",
        "| process | descriptors: start | most | end | threads: start | most | end |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(_counts_row(results, name) for name in sorted(results.descriptors)),
        "",
        "## Answers",
        "",
        "Milliseconds under the steady load, as the clients saw them.",
        "",
        "| what | answers | median | 99th percentile | longest |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {kind} | {count:,.0f} | {median:,.1f} | {late:,.0f} | {longest:,.0f} |"
            for kind, (count, median, late, longest) in sorted(results.whole.items())
        ),
        "",
        _errors(results),
        "",
    ]
    return "\n".join(lines)


def _shorter(lasted: float, minutes: float) -> str:
    return f" (stopped; {minutes:g} were wanted)" if lasted < minutes * 0.95 - 0.2 else ""


def _replaced(results: Results) -> Iterator[str]:
    more = results.replaced - len([name for name in results.memory if name != DATABASE])
    if more > 0:
        yield f"Processes that were replaced by another during the run: {more}."
        yield ""


def _of(results: Results, values: Sequence[float | None], *phases: str) -> list[float]:
    return [
        value
        for value, phase in zip(values, results.phases, strict=True)
        if value is not None and phase in phases
    ]


def _memory_row(results: Results, name: str, found: Trend | None) -> str:
    sizes = results.memory[name]
    start, burst, rest = (_of(results, sizes, phase) for phase in ("start", "burst", "rest"))
    level = found.level if found else percentile(_of(results, sizes, "load"), 0.5)
    cells = [
        f"{start[-1]:.0f}" if start else "",
        f"{level:.0f}",
        f"{max(burst):.0f}" if burst else "",
        f"{rest[-1]:.0f}" if rest else "",
        f"{found.slope:+.1f} ({found.low:+.1f} to {found.high:+.1f})" if found else "",
        found.verdict if found else "too short to say",
    ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _counts_row(results: Results, name: str) -> str:
    cells: list[str] = []
    for values in (results.descriptors[name], results.threads[name]):
        start, load = _of(results, values, "start"), _of(results, values, "load")
        end = _of(results, values, "load", "burst", "rest")
        cells += [
            f"{some:.0f}" for some in (start[-1] if start else 0, max(load, default=0), end[-1] if end else 0)
        ]
    return f"| {name} | " + " | ".join(cells) + " |"


def _errors(results: Results) -> str:
    said = ", ".join(f"{status} {count:,}" for status, count in sorted(results.statuses.items()))
    if results.unexpected:
        wrong = "; ".join(f"{what}, {count:,} times" for what, count in results.unexpected.most_common())
        wrong = f"Not expected: {wrong}."
    else:
        wrong = "No answer was another than expected."
    log = results.setting.get("log", {})
    told = (
        f" The server's log holds {log['errors']} errors and {log['tracebacks']} tracebacks." if log else ""
    )
    return f"All answers, with those of the burst: {said}. {wrong}{told}"


# ---------------------------------------------------------------------------------------------- the picture


def draw(results: Results, path: Path) -> None:
    """Memory, descriptors and threads, and latency over minutes; the burst begins at the grey line."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"svg.hashsalt": "fhir-coprod", "svg.fonttype": "none", "font.size": 8, "font.family": "sans-serif"}
    )
    figure, axes = plt.subplots(2, 2, figsize=(10.4, 6), layout="constrained")
    minutes = [second / 60 for second in results.seconds]
    for name in sorted(results.memory):
        style = "--" if name == DATABASE else "-"
        for axis, values in zip(
            (axes[0][0], axes[0][1], axes[1][0]),
            (results.memory[name], results.descriptors[name], results.threads[name]),
            strict=True,
        ):
            points = thinned(minutes, values)
            axis.plot(*points, style, linewidth=1, label=name)
    for place, (group, kinds) in enumerate(GROUPS.items()):
        for share, style in ((0, "-"), (1, ":")):
            axes[1][1].plot(
                *latencies(results, kinds, share),
                style,
                color=f"C{place}",
                linewidth=1,
                label=group if not share else None,
            )
    titles = ("memory, MB", "open descriptors", "threads", "milliseconds; dotted: 99th percentile")
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set(title=title, xlabel="minutes")
        axis.grid(color="#eeeeee", linewidth=0.6)
        if "burst" in results.phases:
            axis.axvline(minutes[results.phases.index("burst")], color="#bbbbbb", linewidth=1, zorder=0)
    axes[0][0].set_ylim(bottom=0)
    axes[1][1].set_yscale("log")
    axes[0][0].legend(frameon=False, fontsize=7)
    axes[1][1].legend(frameon=False, fontsize=7, ncols=2)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def thinned(
    minutes: Sequence[float], values: Sequence[float | None], most: int = 240
) -> tuple[list[float], list[float]]:
    """At most so many points, each the mean of its neighbours: the picture stays small."""
    step = max(1, len(minutes) // most)
    points = []
    for begin in range(0, len(minutes), step):
        some = [value for value in values[begin : begin + step] if value is not None]
        if some:
            points.append((minutes[begin], sum(some) / len(some)))
    return [x for x, _ in points], [y for _, y in points]


def latencies(results: Results, kinds: Sequence[str], share: int) -> tuple[list[float], list[float]]:
    """Minutes, and median (share 0) or 99th percentile (1) of these kinds; the worst of each window's."""
    windows: dict[int, list[float]] = {}
    for kind in kinds:
        for second, both in zip(results.seconds, results.latency.get(kind, ()), strict=False):
            if both is not None:
                windows.setdefault(int(second // WINDOW), []).append(both[share])
    ordered = sorted(windows)
    middle = [percentile(windows[window], 0.5 if share == 0 else 1.0) for window in ordered]
    return [window * WINDOW / 60 for window in ordered], middle

"""`python -m benchmarks.identity`: how safely and how completely records of one person are found.

People are drawn as registers have them (tests/sync/population.py) and joined by the rules of the sync, once
with the errors as drawn and once with ten times as many. A page with figures is written to docs/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from pathlib import Path

from benchmarks import tiny
from tests.sync.merging.outcomes import NOTHING, SEVERAL, Outcome, outcome
from tests.sync.population import ERRORS, UNNAMED

DOCS = Path(__file__).parent.parent / "docs"
POPULATIONS = 10_000
WORSE = 10
PROMISED = {"joined": 0.95, "questions": 5}

NUMBERS = ("no number", "reserve number", "number mistyped", "number of somebody else")
DATES = ("birth date mistyped", "only the year of birth")
NAMES = ("given name mistyped", "only an initial", "family name mistyped")
MARRIED = "married, and nobody was told"
SOURCES = {
    "twins": "16.8 of 1,000 deliveries in 29 countries, 2010: Heino and others, PLoS ONE 11(3), e0149252",
    "babies": "10.8 births a year for 1,000 people in Sweden, 2022: Statistics Sweden",
    "dates": "hospitals in England against the national register, 2011/12: Harron and others, BMC Medical"
    " Research Methodology 17, 23",
}
PUBLIC = (
    (("born on 1 January",), "1 in 365; more where the day is unknown", "asked for: people who fled"),
    (("twins",), "3.3 %", SOURCES["twins"]),
    (("under one year old",), "1.1 %", SOURCES["babies"]),
    (("children with the whole name of a parent",), "not found", ""),
    (DATES, "0.11 %", SOURCES["dates"]),
    (NUMBERS, "not found", ""),
    (NAMES, "not found", ""),
    ((MARRIED,), "not found", ""),
)
"""What is drawn, how often that is published to be, and where."""


def page(drawn: Outcome, worse: Outcome, populations: int) -> str:
    """docs/identity.md."""
    parts = [
        ["# How safely and how completely one person's records are found"],
        _said(
            f"""Written by `python -m benchmarks.identity`: {populations:,} populations of about 30 people
            each, who have records at two or three EHRs, joined by the rules of
            [sync.md](sync.md#which-records-are-the-same). The people are drawn, not real: the
            tables say how the rules behave on such errors, not how many there are in your
            register. The report of the first sync and the list say that."""
        ),
        ["## Altogether"],
        _altogether(drawn, worse),
        _said(
            f"""Promised: nobody joined wrongly, at least {PROMISED["joined"]:.0%} joined, at most
            {PROMISED["questions"]} questions for 1,000 people. {_within_reach(drawn)}"""
        ),
        ["## By what is wrong in one of the two records"],
        _by_kind(drawn),
        _said(
            """1 January and 1 July often stand for an unknown day, so they agree only beside a national
            number and the full name. Without any number such a pair is not even listed: too many other
            people have that day and a common name."""
        ),
        ["## Who is drawn, and how often something is wrong"],
        _who(drawn),
        _said(
            """Where a figure was found, as many are drawn as are published, or more; where none was
            found, the rate is a guess. For comparison: the algorithm that joins hospital episodes in
            England missed 4.1 % of the pairs of children in intensive care and joined 0.2 %
            wrongly (Hagger-Johnson and others, BMJ Open 2015;5:e008118). The rules here ask
            instead."""
        ),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _said(text: str) -> list[str]:
    words = " ".join(text.split())
    return textwrap.wrap(words, 128, break_on_hyphens=False, break_long_words=False)


def _altogether(drawn: Outcome, worse: Outcome) -> list[str]:
    def row(what: str, *cells: str) -> str:
        return f"| {what} | {' | '.join(cells)} |"

    both = (drawn, worse)
    shares = {"joined": "joined without asking", "listed": "not joined, and listed with the reason"}
    shares["missed"] = "not joined and not listed"
    return [
        f"| | errors as drawn | {WORSE} times as many |",
        "|---|---:|---:|",
        row("people", *(f"{one.people:,}" for one in both)),
        row("pairs of records that are one person", *(f"{one.count():,}" for one in both)),
        *(
            row(words, *(f"{one.count(result):,} ({one.share(result):.1%})" for one in both))
            for result, words in shares.items()
        ),
        # Outcome.add raises an error as soon as there is one.
        row("two people made one, or two records that differ in one of the three below", "**0**", "**0**"),
        row("pairs of two different people on the list", *(f"{one.strangers:,}" for one in both)),
        row(
            "questions for 1,000 people, of whom 80 have an open referral or a plan",
            *(f"{1000 * one.questions / one.people:.1f}" for one in both),
        ),
    ]


def _within_reach(drawn: Outcome) -> str:
    """How many the rules could join at most: they must not join records that differ in one of three."""
    may = (NOTHING, "family name mistyped", MARRIED)
    most = sum(drawn.count("", kind) for kind in may)
    joined = sum(drawn.count("joined", kind) for kind in may)
    return f"""Records that differ in a number, the birth date or the given name, or lack it, are never joined
        without a person's word. In {most / drawn.count():.1%} of the pairs nothing is wrong with these three;
        of those {joined / most:.1%} are joined."""


def _by_kind(drawn: Outcome) -> list[str]:
    lines = [
        "| | pairs | joined | listed | neither | 1 January, 1 July: pairs | joined | listed | neither |",
        "|---|" + "---:|" * 8,
    ]
    for kind in (NOTHING, *ERRORS, UNNAMED, SEVERAL):
        cells = []
        for unknown in (False, True):
            pairs = drawn.count("", kind, unknown)
            shares = (
                f"{drawn.share(result, kind, unknown):.1%}" if pairs else "–"
                for result in ("joined", "listed", "missed")
            )
            cells += [f"{pairs:,}", *shares]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def _who(drawn: Outcome) -> list[str]:
    lines = ["| | drawn | published | |", "|---|---:|---|---|"]
    for kinds, published, source in PUBLIC:
        of_people = kinds[0] in drawn.drawn
        share = drawn.drawn[kinds[0]] / drawn.people if of_people else sum(ERRORS[kind] for kind in kinds)
        unit = "of people" if of_people else "of records"
        lines.append(f"| {', '.join(kinds)} | {share:.2%} {unit} | {published} | {source} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identity", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=DOCS, help="folder of identity.md")
    parser.add_argument("--tiny", action="store_true", help="in seconds, kept nowhere: does it run?")
    chosen, _ = parser.parse_known_args()
    if chosen.tiny:
        tiny.shrink("identity", globals())
        with tempfile.TemporaryDirectory(prefix="coprod-identity-") as name:
            return _run(Path(name))
    return _run(chosen.out)


def _run(out: Path) -> int:
    seeds = range(POPULATIONS)
    text = page(outcome(seeds), outcome(seeds, errors=WORSE), POPULATIONS)
    out.mkdir(parents=True, exist_ok=True)
    (out / "identity.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

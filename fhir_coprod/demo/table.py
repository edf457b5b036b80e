"""The board as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fhir_coprod.sync import EhrReport
from fhir_coprod.web.board import Board, Case
from fhir_coprod.web.pages import day


def print_board(stdout: Console, board: Board, reports: Sequence[EhrReport]) -> None:
    """Who, which stage, since when, what is missing, who can move it, and has the patient been told."""
    stdout.print(table(board))
    stdout.print(
        f"{board.open} open referrals; {len(board.stalled)} stalled, {len(board.moving)} moving as planned; "
        f"{board.untold} patients of stalled referrals not told.",
        highlight=False,
    )
    for line in board.limits:
        stdout.print(f"Not seen: {escape(line)}", highlight=False)


def table(board: Board) -> Table:
    """The stalled referrals, the most urgent first."""
    drawn = Table(
        title=f"Stalled referrals, {day(board.now)} ({board.policy})",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_lines=False,
    )
    drawn.add_column("Who", min_width=14)
    drawn.add_column("Referral", min_width=16)
    drawn.add_column("Stage")
    drawn.add_column("Since", no_wrap=True)
    drawn.add_column("Missing", min_width=24)
    drawn.add_column("Who can move it", min_width=16)
    drawn.add_column("Patient told")
    for case in board.stalled:
        _add(drawn, case)
    return drawn


def _add(drawn: Table, case: Case) -> None:
    for index, stall in enumerate(case.stalls):
        first = index == 0
        colour = "red" if case.severity == "high" else "yellow" if case.severity == "moderate" else ""
        drawn.add_row(
            escape(case.patient) if first else "",
            escape(case.what) if first else "",
            case.stage if first else "",
            f"{stall.since:%Y-%m-%d}",
            f"[{colour}]{escape(stall.words)}[/]" if colour else escape(stall.words),
            escape(stall.owner or "nobody named"),
            _told(case) if first else "",
            end_section=index == len(case.stalls) - 1,
        )


def _told(case: Case) -> str:
    if case.informed:
        return "[green]yes[/]"
    since = f", since {case.untold_since:%d %b}" if case.untold_since else ""
    return f"[red]no{since}[/]"

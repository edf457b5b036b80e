"""Prints the board as a table on the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from fhir_coprod.terminal import shown
from fhir_coprod.web.board import Board, Case
from fhir_coprod.web.dates import day


def print_board(stdout: Console, board: Board) -> None:
    """Who, which stage, since when, what is missing, who can move it, and whether the patient was told."""
    stdout.print(table(board))
    stdout.print(
        f"{board.open} open referrals; {len(board.stalled)} stalled, {len(board.moving)} moving as planned, "
        f"{len(board.partly)} not stalled as far as can be seen; "
        f"{board.untold} patients of stalled referrals not told.",
        highlight=False,
    )
    for line in board.limits:
        stdout.print(f"Not seen: {shown(line)}", highlight=False)


def table(board: Board) -> Table:
    """The stalled referrals, the most urgent first."""
    drawn = Table(
        title=f"Stalled referrals, {day(board.now)} ({board.policy})",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        expand=True,
        pad_edge=False,
    )
    drawn.add_column("Who, and what for", ratio=5)
    drawn.add_column("Stage, since", no_wrap=True)
    drawn.add_column("Missing → who can move it", ratio=8)
    drawn.add_column("Patient told", no_wrap=True)
    for case in board.stalled:
        _add(drawn, case)
    return drawn


def _add(drawn: Table, case: Case) -> None:
    colour = {"high": "red", "moderate": "yellow"}.get(case.severity, "default")
    for index, stall in enumerate(case.stalls):
        first = index == 0
        drawn.add_row(
            f"[bold]{shown(case.patient)}[/]\n{shown(case.what)}" if first else "",
            f"{case.stage if first else ''}\n{stall.since:%Y-%m-%d}",
            f"[{colour}]{shown(stall.words)}[/]\n→ {shown(stall.owner or 'nobody is named')}",
            _told(case) if first else "",
            end_section=index == len(case.stalls) - 1,
        )


def _told(case: Case) -> str:
    if case.informed:
        return "[green]yes[/]"
    if case.telling_unseen:
        return "cannot be seen"
    return f"[red]no[/], since\n{case.untold_since:%Y-%m-%d}" if case.untold_since else "[red]no[/]"

"""Write the table of rules in docs/watch.md from code system and default policy, so that it cannot drift.

python scripts/build_rule_table.py            write
python scripts/build_rule_table.py --check    fail when the page differs
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from node_tools import ROOT

from fhir_coprod import definitions
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import Rule
from fhir_coprod.watch.rules.policies import Policy

PAGE = ROOT / "docs" / "watch.md"
BEGIN = "<!-- This table is written by scripts/build_rule_table.py; do not edit. -->\n"
END = "<!-- end of the table -->\n"
STARTS = " It counts from "
"""Divides a code's definition into what is wrong, and the event that the deadline counts from."""
MOVED_BY = {"receiver": "department", "requester": "requester"}
NO_SINGLE_OWNER = {
    Rule.HALF_CLOSED: "the side that has not ended",
    Rule.PATIENT_NOT_INFORMED: "where it happened",
    Rule.SILENT_TOO_LONG: "department",
}
"""Rules for which the policy names no owner."""


def main() -> None:
    options = argparse.ArgumentParser(description="Write the table of rules in docs/watch.md.")
    options.add_argument("--check", action="store_true", help="compare only; exit 1 on a difference")
    check = options.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"docs/watch.md has no place for the table of rules, between {BEGIN} and {END}")
    wanted = f"{before}{BEGIN}\n" + "\n".join(table(policies.load("default"))) + f"\n\n{END}{after}"
    if check and wanted != page:
        sys.exit("The rules in docs/watch.md are not what code system and policy say; run: make docs")
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")


def table(policy: Policy) -> Iterator[str]:
    yield "| rule | what is wrong | counts from | due after | who can move it |"
    yield "|---|---|---|---|---|"
    for concept in next(s for s in definitions.own_resources("CodeSystem") if s["id"] == "stall-rule")[
        "concept"
    ]:
        rule = Rule(concept["code"])
        wrong, _, start = concept["definition"].rstrip(".").partition(STARTS)
        if not start:
            sys.exit(f"Say in stall-rule.fsh what {rule} counts from: … .{STARTS}…")
        moved_by = MOVED_BY.get(policy.owners.get(rule, "")) or NO_SINGLE_OWNER.get(rule)
        if moved_by is None:
            sys.exit(f"Say in policies/default.toml who can move {rule}.")
        yield f"| `{rule}` | {wrong.rstrip('.')} | {start} | {due(rule, policy)} | {moved_by} |"


def due(rule: Rule, policy: Policy) -> str:
    """After how long a routine referral is stalled by this rule."""
    if rule is Rule.SILENT_TOO_LONG:
        routine, *others = (f"{priority} {span}" for priority, span in policy.silence.items())
        return f"{routine.removeprefix('routine ')} ({', '.join(others)})"
    span = policy.clocks["routine"].get(rule)
    return str(span) if span else "at once"


if __name__ == "__main__":
    main()

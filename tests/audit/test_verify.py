"""Whatever is done to the audit afterwards shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.audit import heads
from fhir_coprod.audit.chain import START, Head, link
from fhir_coprod.audit.events import About, Event, rows
from fhir_coprod.store.opening import connect
from fhir_coprod.store.soundness import check
from tests.api.conftest import patient
from tests.audit.conftest import Audited

EVENTS = st.builds(
    Event,
    *(st.text(max_size=5) for _ in range(6)),
    interaction=st.sampled_from(["read", "search-type"]),
    status=st.integers(100, 599),
    about=st.lists(
        st.builds(About, st.just("Patient"), st.text("ab", min_size=1), st.integers(0, 9), st.text("ab"))
    ).map(tuple),
)


def fill(audited: Audited) -> None:
    """Two chains of reads and two of writes."""
    for _ in range(2):
        audited.start()
        for number in range(4):
            audited.api.put(f"Patient/p{number}", patient(id=f"p{number}"))
            audited.api.get(f"Patient/p{number}")
            audited.api.get("Patient?_count=2")
    audited.stop()


def kinds(audited: Audited) -> set[str]:
    return {flaw.kind for flaw in audited.flaws()}


def test_what_nobody_touched_is_sound_and_so_is_the_store(audited: Audited) -> None:
    fill(audited)
    assert audited.flaws() == []
    assert len(audited.calls()) == 24
    assert check.damage(connect(audited.url)) == []


ONE = "chain = (SELECT min(chain) FROM audit_call)"


@pytest.mark.parametrize("part", ["reads", "writes"])
@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        (f"UPDATE audit_call SET who = 'x' WHERE number = 2 AND {ONE}", "altered"),
        (f"UPDATE audit_call SET at = at + 1 WHERE number = 1 AND {ONE}", "altered"),
        (f"UPDATE audit_resource SET patient = 'x' WHERE number = 2 AND {ONE}", "altered"),
        (f"DELETE FROM audit_resource WHERE number = 2 AND {ONE}", "altered"),
        (f"DELETE FROM audit_call WHERE number = 2 AND {ONE}", "missing"),
        (f"DELETE FROM audit_call WHERE number = 1 AND {ONE}", "missing"),
        (f"UPDATE audit_call SET number = 9 WHERE number = 4 AND {ONE}", "missing"),
        (
            "INSERT INTO audit_call SELECT month, chain, number + 100, at, kind, who, session, address,"
            " departments, purpose, interaction, type, id, version, status, query, hash FROM audit_call"
            f" WHERE number = 1 AND {ONE}",
            "missing",
        ),
        (
            f"INSERT INTO audit_resource SELECT month, chain, 100, 0, at, type, id, version, patient FROM"
            f" audit_resource WHERE number = 1 AND place = 0 AND {ONE}",
            "added",
        ),
        (f"DELETE FROM audit_call WHERE number >= 3 AND {ONE}", "cut"),
        (f"DELETE FROM audit_call WHERE {ONE}", "chain"),
    ],
)
def test_a_row_that_is_altered_taken_or_put_in_shows(
    audited: Audited, part: str, statement: str, kind: str
) -> None:
    fill(audited)
    audited.tamper(part, statement)
    assert kind in kinds(audited)


@pytest.mark.parametrize("part", ["reads", "writes"])
def test_a_chain_that_somebody_calculates_anew_shows(audited: Audited, part: str) -> None:
    fill(audited)
    base = audited.places.reads(audited.month) if part == "reads" else audited.store.database
    (chain,) = base.read("SELECT min(chain) FROM audit_call")[0]
    calls = base.read("SELECT * FROM audit_call WHERE chain = ? ORDER BY number", (chain,))
    previous, statements = START, []
    for call in calls:
        resources = base.read(
            "SELECT * FROM audit_resource WHERE chain = ? AND number = ? ORDER BY place", (chain, call[2])
        )
        forged = (*call[:5], "somebody else", *call[6:-1])
        previous = link(previous, forged, resources)
        value = f"x'{previous.hex()}'" if "sqlite" in audited.url else f"'\\x{previous.hex()}'"
        statements.append(
            f"UPDATE audit_call SET who = 'somebody else', hash = {value} WHERE chain = '{chain}'"
            f" AND number = {call[2]}"
        )
    audited.tamper(part, *statements)
    assert kinds(audited) == {"recomputed"}


def test_without_ends_outside_only_what_is_within_the_chains_shows(audited: Audited) -> None:
    fill(audited)
    audited.tamper("writes", f"DELETE FROM audit_call WHERE number >= 3 AND {ONE}")
    audited.heads.write_bytes(b"")
    assert kinds(audited) <= {"added"}


def test_ends_are_read_from_a_system_log_and_past_lines_that_were_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "log"
    line = heads.line(Head("ab", 3, bytes(20)), 0)
    file.write_bytes(b"Mar  2 host fhir-coprod audit: " + line + b"other\n" + line[:30] + b"\n" + line)
    assert list(heads.read(file)) == [Head("ab", 3, bytes(20))] * 2


@given(st.lists(EVENTS, min_size=1, max_size=6), st.data())
def test_any_change_of_any_value_changes_the_hash(events: list[Event], data: st.DataObject) -> None:
    head, calls, resources = rows(Head("c"), events, 1_790_000_000_000)
    number = data.draw(st.integers(0, len(calls) - 1))
    column = data.draw(st.integers(0, len(calls[0]) - 2))
    previous = START
    for place, call in enumerate(calls):
        own = [row for row in resources if row[2] == call[2]]
        values = list(call[:-1])
        if place == number:
            values[column] = values[column] + 1 if isinstance(values[column], int) else values[column] + "x"
        previous = link(previous, values, own)
    assert previous != head.hash
    assert head.number == len(events)

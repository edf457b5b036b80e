"""Reports what a sync run did, per EHR and resource type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fhir_coprod.jsontext import Json
from fhir_coprod.sync.diff import Difference, difference
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.trusted import SeenSystem
from fhir_coprod.sync.settle import Settled
from fhir_coprod.sync.staging.sinks import StoreSink
from fhir_coprod.sync.staging.stage import Batch, Counts


@dataclass(slots=True)
class EhrReport:
    """What a run did with one EHR."""

    ehr: str
    error: str = ""
    """Why we could not talk to it at all; "" if we could."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """By resource type, for the types that can be observed."""
    faults: dict[str, str] = field(default_factory=dict)
    """By resource type: why it could not be read completely in this run, or what else is to be mended."""
    changes: list[Difference] = field(default_factory=list)
    """What would be written; only in a dry run."""
    remarks: dict[str, str] = field(default_factory=dict)
    """By resource type: what is good to know although everything was read."""
    unread: dict[str, dict[str, str]] = field(default_factory=dict)
    """By resource type: what the EHR did not give although it gave the rest, `Patient/id` there or a record,
    and why. These are the EHR's ids: print them for people, but do not log them."""

    dead_letters: int = 0
    """Records of this run or an earlier one that could not be taken in, and that nobody has put aside; not
    in a dry run."""
    feeds: dict[str, str] = field(default_factory=dict)
    """By resource type: what is known of it now, in words; not in a dry run."""
    identifiers: list[SeenSystem] = field(default_factory=list)
    """What was seen of each system of numbers that name people; only in the first run, and in a full one."""
    run: str = ""
    """What names the run, in the log and in the store; "" in a dry run."""
    left_out: str = ""
    """Why the EHR was not read, and is not to be: it is paused, or outside its hours."""

    @property
    def ok(self) -> bool:
        """Whether everything could be read, and no record is left out that nobody has put aside.

        A record that breaks a rule and is kept is no fault here: what is wrong in it is listed, nothing is
        missing, and an alarm each night because of one wrong code would soon be switched off.
        """
        return not self.error and not self.faults and not self.dead_letters and not self.dead

    @property
    def wrong(self) -> list[str]:
        """What is wrong, a sentence for each fault; without the ids of records there."""
        said = self.not_read
        if left_out := self.dead_letters or self.dead:
            records = "1 record" if left_out == 1 else f"{left_out} records"
            said.append(f"{self.ehr}: {records} could not be taken in; see: fhir-coprod dead-letters list")
        return said

    @property
    def not_read(self) -> list[str]:
        """What could not be read or is to be mended, a sentence for each reason."""
        if self.error:
            return [self.error]
        types: dict[str, list[str]] = {}
        for type, reason in self.faults.items():
            types.setdefault(reason.removeprefix(f"{self.ehr}: "), []).append(type)
        return [f"{self.ehr}: {self._named(named)}: {reason}" for reason, named in types.items()]

    def _named(self, types: Sequence[str]) -> str:
        """Types in a sentence. A refused token costs all: 24 names say no more than their number."""
        whole = len(types) > 3 and len(types) == len(self.counts)
        return f"all {len(types)} types" if whole else ", ".join(types)

    @property
    def dead(self) -> int:
        """Records that could not be taken in in this run."""
        return sum(counts.dead for counts in self.counts.values())

    def to_json(self) -> Json:
        """As `sync --json` prints it."""
        return {
            "ehr": self.ehr,
            "run": self.run or None,
            "ok": self.ok,
            "left_out": self.left_out or None,
            "error": self.error or None,
            "types": {type: counts.to_json() for type, counts in self.counts.items()},
            "faults": self.faults,
            "remarks": self.remarks,
            "unread": self.unread,
            "dead_letters": self.dead_letters,
            "feeds": self.feeds,
            "identifiers": [seen.to_json() for seen in self.identifiers],
            "changes": [change.to_json() for change in self.changes],
        }


class Reports:
    """Collects the reports while a run goes on."""

    def __init__(self, order: Sequence[str]) -> None:
        self._order = {name: number for number, name in enumerate(order)}
        self._reports: dict[str, EhrReport] = {}

    def of(self, ehr: str) -> EhrReport:
        return self._reports.setdefault(ehr, EhrReport(ehr))

    def staged(self, batch: Batch, counts: Counts) -> None:
        own = self.of(batch.ehr).counts
        own[batch.type] = own.get(batch.type, Counts()) + counts

    def settled(self, settled: Settled) -> None:
        for (ehr, type), number in settled.conflicts.items():
            self._of_type(ehr, type).conflicts += number
        for (ehr, type), number in settled.merged.items():
            if ehr in self._reports:
                self._of_type(ehr, type).merged = number

    def would(self, changes: Sequence[Change]) -> None:
        """Add the changes that a dry run would make."""
        for change in changes:
            self.of(change.ehr).changes.append(difference(change))

    def told(self, sink: StoreSink) -> None:
        """Add what pulling found out beside the records."""
        for (ehr, type), reason in sink.faults.items():
            if not self.of(ehr).error:
                self.of(ehr).faults[type] = reason
        for (ehr, type), remark in sink.remarks.items():
            self.of(ehr).remarks[type] = remark
        for (ehr, type), gaps in sink.gaps.items():
            self.of(ehr).unread[type] = dict(gaps)

    def _of_type(self, ehr: str, type: str) -> Counts:
        return self.of(ehr).counts.setdefault(type, Counts())

    def all(self) -> list[EhrReport]:
        """In the order of the settings."""
        last = len(self._order)
        return sorted(self._reports.values(), key=lambda r: (self._order.get(r.ehr, last), r.ehr))

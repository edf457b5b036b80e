"""Looks at a bulk export until it is complete, as long as one run may wait."""

from __future__ import annotations

from dataclasses import dataclass

from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable
from fhir_coprod.sync.ehr import export
from fhir_coprod.sync.ehr.exporter import Exporter, Lost
from fhir_coprod.sync.ehr.sending import Answer, retry_after
from fhir_coprod.sync.reading.shared import Reading

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two looks at an export, where the server does not say when to come back."""
LONGEST_ASKED = 300.0
"""The same where it does: some ask for hours, for any export."""
FAILED_LOOKS = 4
"""After so many looks in a row that brought no answer, the run goes on without the export."""


class Postponed(Exception):
    """The export is not done yet, and this run has waited enough; the words are the server's."""


@dataclass
class Waiting:
    """How long one run has waited for the exports of one EHR, in seconds."""

    reading: Reading
    exporter: Exporter
    waited: float = 0.0

    async def until_complete(self, address: str, budget: float) -> Answer:
        """The answer with the manifest.

        budget: seconds that the run may wait, with what it has waited

        Raises Postponed if it takes too long, Lost if the export is gone, EhrAnswer if it will not come to an
        end, EhrError if it cannot be looked at.
        """
        name = self.reading.name
        pause, failed, looks = FIRST_PAUSE, 0, 0
        while True:
            looks += 1
            answer = await self._look(address)
            state = "unanswered" if answer is None else export.state(answer)
            if answer is not None and state == "complete":
                return answer
            if answer is not None and state == "failed":
                codes = ", ".join(sorted(answer.codes()))
                raise EhrAnswer(f"{name}: the export failed at the server ({answer.status}: {codes}).")
            if state == "lost":
                raise Lost(f"{name}: the server has lost the export.", is_gone=True)
            failed = failed + 1 if state == "unanswered" else 0
            if failed == FAILED_LOOKS:
                raise EhrError(f"{name}: the server does not say how far the export is ({_said(answer)}).")
            note = export.progress(answer) if answer is not None else ""
            self.reading.tell_export(looks, note)
            asked = retry_after(answer.headers.get("Retry-After")) if answer is not None else None
            wait = pause if asked is None else min(max(asked, FIRST_PAUSE), LONGEST_ASKED)
            pause = min(2 * pause, LONGEST_PAUSE)
            if self.waited + wait > budget:
                raise Postponed(note)
            self.waited += wait
            await self.reading.client.politeness.sleep(wait)

    async def _look(self, address: str) -> Answer | None:
        try:
            return await self.exporter.look(address)
        except EhrUnreachable:
            return None


def _said(answer: Answer | None) -> str:
    if answer is None:
        return "no answer"
    return f"{answer.status}, {answer.markup}" if answer.markup else str(answer.status)

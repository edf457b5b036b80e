"""How a user's code looks to a strict type checker: `make check` reads this file, nothing runs it.

A line that must be refused says so by its ignore comment, which the checker reports when it is not needed.
"""

from typing import Any

from fhir_coprod import validate
from fhir_coprod.client import Client
from fhir_coprod.profiles import CoproductionCarePlan, CoproductionGoal, PlanAgreement, TeamMember

goal = CoproductionGoal.in_own_words("Walk", patient="Patient/1")
words: str = goal.words
plan = CoproductionCarePlan.build(patient="Patient/1", goals=["Goal/1"], phase="co-decide")
plan.agreements = [PlanAgreement("Patient/1", "agreed", "2026-03-02")]
who: list[str] = [agreement.who for agreement in plan.agreements]
places: list[str] = [issue.expression for issue in validate(plan.write())]

CoproductionCarePlan.build(patient="Patient/1", phase="co-dream")  # type: ignore[arg-type]
PlanAgreement("Patient/1", "maybe", "2026-03-02")  # type: ignore[arg-type]
PlanAgreement("Patient/1")  # type: ignore[call-arg]
plan.phase = "later"  # type: ignore[assignment]

client = Client("https://coprod.example/fhir")
stored: CoproductionGoal = client.create(goal)
newer: CoproductionGoal = client.update(stored)
again: CoproductionGoal = client.read("Goal", "1", into=CoproductionGoal)
raw: bytes = client.read("Goal", "1", into=bytes)
values: dict[str, Any] = client.read("Goal", "1")
found: list[str] = [each.words for each in client.search("Goal", {"patient": "1"}, into=CoproductionGoal)]
values = client.create({"resourceType": "Patient", "active": True})
outcome: bool = bool(validate(goal, "coproduction-goal"))
member = TeamMember("Practitioner/1", "coordinator")


class SiteGoal(CoproductionGoal):
    profile_id = "https://hospital.example/fhir/StructureDefinition/site-goal"


site_goal: SiteGoal = SiteGoal.in_own_words("Walk", patient="Patient/1")

TeamMember("Practitioner/1", "janitor")  # type: ignore[arg-type]
client.create(7)  # type: ignore[call-overload]

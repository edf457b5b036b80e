"""How a user's code looks to a strict type checker: `make check` reads this file, nothing runs it.

A line that must be refused says so by its ignore comment, which the checker reports when it is not needed.
"""

from fhir_coprod import validate
from fhir_coprod.profiles import CoproductionCarePlan, CoproductionGoal, PlanAgreement

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

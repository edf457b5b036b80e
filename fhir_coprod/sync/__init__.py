"""Keeping the coproduction layer in step with several departments' EHRs.

check(ehr)            what an EHR can do, and the plan that follows
run(store, settings)  pull, link, write; a report per EHR
feeds(connection)     what of each EHR can be seen at present
holdings(connection)  which record of which EHR is in which resource of ours
"""

from fhir_coprod.sync.ehr.plan import EhrPlan, TypePlan
from fhir_coprod.sync.engine import check, run
from fhir_coprod.sync.pull import Progress
from fhir_coprod.sync.report import EhrReport
from fhir_coprod.sync.staging.feed import Feed, feeds
from fhir_coprod.sync.staging.stage import Counts, Holding, holdings

__all__ = [
    "Counts",
    "EhrPlan",
    "EhrReport",
    "Feed",
    "Holding",
    "Progress",
    "TypePlan",
    "check",
    "feeds",
    "holdings",
    "run",
]

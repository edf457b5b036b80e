"""The referral watch: where each referral stands, what is stalled, who can move it, and alerts for it."""

from fhir_coprod.watch.live.sweep import sweep
from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Stall, Standing

__all__ = ["Facts", "Policy", "Stall", "Standing", "assess", "sweep"]

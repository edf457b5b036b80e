"""The referral watch: finds where each referral stands and what is stalled, and alerts those who can act."""

from fhir_coprod.watch.live.sweep import sweep
from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.assess import assess
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Stall, Standing

__all__ = ["Facts", "Policy", "Stall", "Standing", "assess", "sweep"]

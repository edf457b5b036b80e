"""The referral watch: where each referral stands, what is stalled, who can move it, and alerts for it."""

from fhir_coprod.watch.pathway import assess
from fhir_coprod.watch.policies import Policy
from fhir_coprod.watch.records import Facts
from fhir_coprod.watch.standing import Stall, Standing
from fhir_coprod.watch.sweep import sweep

__all__ = ["Facts", "Policy", "Stall", "Standing", "assess", "sweep"]

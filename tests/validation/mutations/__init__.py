"""Ways to break a valid resource, each named after what it does. Some mutants stay valid."""

from tests.validation.mutations import absent, forms, meaning
from tests.validation.mutations.spots import MUTATIONS, Spot, mutate, spots

__all__ = ["MUTATIONS", "Spot", "absent", "forms", "meaning", "mutate", "spots"]

"""The fast tier: models as functions that raise when something is wrong and never say what."""

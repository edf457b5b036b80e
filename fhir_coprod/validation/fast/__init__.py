"""The tier that only knows yes: models as functions that raise when something is wrong."""

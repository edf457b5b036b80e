"""Python imports this at its start, in processes that tests start: they get the mutant, too."""

from mutation import overlay

overlay.install_from_environment()

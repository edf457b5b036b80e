"""Python imports this at start-up, so that processes which tests start get the mutant, too."""

from mutation import overlay

overlay.install_from_environment()

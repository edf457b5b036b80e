"""The explaining tier: walks model and resource side by side and reports everything that is wrong."""

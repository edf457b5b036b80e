"""The tier that tells: walks model and resource side by side and says everything that is wrong."""

"""Records as they came, kept beside the store until they are merged."""

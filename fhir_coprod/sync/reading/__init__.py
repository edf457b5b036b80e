"""Reads the records of one EHR: types that it lists, and records by themselves."""

"""Reads one EHR over HTTP: what it can do, how to read each type, and its pages."""

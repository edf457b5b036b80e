"""Drafts letters to patients: the words, and who sends them."""

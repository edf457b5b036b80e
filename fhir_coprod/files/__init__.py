"""Finds the files that somebody names, and reads records from them in bounded memory, whatever they hold."""

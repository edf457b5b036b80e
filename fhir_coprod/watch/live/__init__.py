"""Runs the watch: follows the log and the clock, judges referrals again, and writes alerts."""

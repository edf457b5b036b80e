"""The watch as it runs: follows the log and the clock, looks again, writes."""

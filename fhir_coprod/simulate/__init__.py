"""Simulates a hospital whose referrals stall at published rates, and tells the truth about each of them.

Nothing here knows the watch: what happened is written down as it happens in the simulated lives, in this
package's own words (docs/simulator.md).
"""

"""A hospital that never was, whose referrals stall at published rates, and the truth about every one of them.

Nothing here knows the watch: what happened is written down as it happens in the simulated lives, in this
package's own words (documentation page on the simulator).
"""

"""Measures how well the watch finds stalled referrals, on the simulated hospital (`make evidence`)."""

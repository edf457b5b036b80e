"""Reads from the store: referrals, what belongs to them, and which referrals a change concerns."""

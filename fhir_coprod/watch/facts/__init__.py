"""What the store knows: referrals, what belongs to them, what a change concerns."""

"""Pure judgement: from what is known, a policy and a moment to where a referral stands."""

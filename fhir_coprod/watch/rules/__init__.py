"""The rules of the watch: judge where a referral stands from its facts, a policy and the time. Pure."""

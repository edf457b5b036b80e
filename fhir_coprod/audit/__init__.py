"""The audit: what is remembered of every call, in chains of hashes that show what is missing or altered."""

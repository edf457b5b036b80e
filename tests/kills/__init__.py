"""Long proofs that nothing acknowledged is lost or doubled, whatever is killed, and however full the disk."""

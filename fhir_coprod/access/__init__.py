"""Who may call, and what they may see and do."""

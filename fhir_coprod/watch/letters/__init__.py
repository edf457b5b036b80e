"""What the patient is told: the words of a letter, and who writes it."""

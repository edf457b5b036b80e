"""What people do: acknowledge alerts, put them aside, release letters; and what cannot be watched."""

"""What the watch finds in a hospital that nobody here wrote, clean and dirty."""

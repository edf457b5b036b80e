"""What other programs take out of the store, or bring into it, as a whole."""

"""Which files are read, and what is read from them."""

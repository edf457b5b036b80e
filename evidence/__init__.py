"""How well the watch finds what stalls, measured on the simulated hospital (`make evidence`)."""

"""Mutation testing: a seeded sample of small faults, each run against the tests nearest to it.

areas      the table: which files are mutated, and which tests are nearest to them
operators  the mutations, as edits of the text, and what is left out
sample     the mutants of some areas, in an order that depends only on the seed and the source
overlay    imports one module with its text changed; nothing is written into the source
forks      pytest in forked processes: each test on its own, or one mutant against its tests
nearest    which tests run each line, measured with coverage and remembered in .cache/
run        the run: tests of each mutant, kills, time-outs, and the check that no kill was an accident
report     the mutants that survived, and the share that was killed

Why not a library: mutmut 3 leaves out classes under a decorator (all our dataclasses) and takes no sample;
cosmic-ray starts a process and imports everything for each mutant; mutatest has not moved since 2022.
"""

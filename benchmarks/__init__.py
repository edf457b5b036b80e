"""Benchmarks: speed, always compared with a reference that runs in the same minute on the same machine.

frame.py      what a measurement is, and how it is taken
load.py       the HTTP client that makes load, and servers to put it on
<area>.py     the measurements of one area: a generator `pairs()` of frame.Pair
__main__.py   runs them, prints the table, writes results/
"""

"""Benchmarks: the processor beside other systems on one load, and its own parts one by one.

Each module of this package but `__init__` is a command, `python -m bench.MODULE --help` explains it.
`support` holds what they share, `peers` the other systems.
"""

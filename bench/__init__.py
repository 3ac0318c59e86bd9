"""Benchmarks of the processor; `python -m bench.NAME --help` explains each of them.

- `python -m bench`: other systems at the same job; `plot` draws its results, `scale` adds workers
- `stages`, `kinds`, `decode`: CPU time of an event, by stage and by kind of message; `memory`: of kept
  requests
- `latency`, `scrape`, `ingress`: a running worker from the outside
- `replay`, `bootstrap`, `journal`: reading the past: events files, an archive, the log
- `soak`, `week`: long runs, in real time and in simulated time

`support` holds the parts that they share, `messages` the kinds of messages, `peers` the other systems.
"""

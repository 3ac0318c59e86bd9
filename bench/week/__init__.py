"""`python -m bench.week`: a simulated week of log time, checked against its truth."""

"""`python -m bench.soak`: a long run under a steady load, with restarts of the workers."""

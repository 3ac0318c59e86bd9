"""The benchmark: the processor and its peers on one load."""

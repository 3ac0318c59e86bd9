"""Shared parts of the benchmarks: loads, clocks, workers of the processor, reports."""

"""Faults under load on a real broker: whatever happens, the final numbers are exact."""
